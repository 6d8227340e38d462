"""A complete CRL as DER, by cryptography's builder and any SigningKey.

RFC 5280 5.1 (fields), 5.2.1 (authority key identifier), 5.2.3 (number), 5.2.5 (issuing distribution point),
5.3.1 (reasonCode), 5.3.2 (invalidityDate). Pure: values in, octets out.
"""

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.authority.certificate import key_identifier, moment
from cachewarm.authority.profiles import check_url
from cachewarm.crl.plan import RevokedEntry
from cachewarm.errors import Refused
from cachewarm.signing.base import SigningKey
from cachewarm.signing.builders import sign_crl
from responder.domain.issuer import Issuer
from responder.domain.status import CRLReason

#: 20 octets of a positive INTEGER, RFC 5280 5.2.3.
NUMBER_LIMIT = 1 << 159

#: Reasons as the builder writes them; `unspecified` is left out (RFC 5280 5.3.1), removeFromCRL belongs to deltas.
_REASON_FLAGS = {
    CRLReason.keyCompromise: x509.ReasonFlags.key_compromise,
    CRLReason.cACompromise: x509.ReasonFlags.ca_compromise,
    CRLReason.affiliationChanged: x509.ReasonFlags.affiliation_changed,
    CRLReason.superseded: x509.ReasonFlags.superseded,
    CRLReason.cessationOfOperation: x509.ReasonFlags.cessation_of_operation,
    CRLReason.certificateHold: x509.ReasonFlags.certificate_hold,
    CRLReason.privilegeWithdrawn: x509.ReasonFlags.privilege_withdrawn,
    CRLReason.aACompromise: x509.ReasonFlags.aa_compromise,
}


def build(
    issuer: Issuer,
    signing_key: SigningKey,
    entries: Iterable[RevokedEntry],
    *,
    number: int,
    this_update: int,
    next_update: int,
    crl_url: str | None,
) -> bytes:
    """DER of a v2 CRL; with a URL its issuing distribution point is critical and names it.

    Refused for a key that is not the issuer's, a number or a window that cannot be, an entry that may not stand there.
    """
    ca = x509.load_der_x509_certificate(issuer.cert_der)
    if ca.public_key() != signing_key.public_key:
        raise Refused(f"the key does not belong to the certificate of {issuer.issuer_id}")
    if not 0 <= number < NUMBER_LIMIT:
        raise Refused(f"a CRL number is not negative and below 2^159, not {number}")
    if not this_update < next_update:
        raise Refused("a CRL's nextUpdate lies after its thisUpdate")
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=ca.subject,
        last_update=moment(this_update),
        next_update=moment(next_update),
        revoked_certificates=_entries(entries, this_update),  # one by one it would copy the list each time
    )
    builder = builder.add_extension(x509.AuthorityKeyIdentifier(key_identifier(ca), None, None), critical=False)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if crl_url is not None:
        builder = builder.add_extension(_distribution_point(crl_url), critical=True)
    return sign_crl(builder, signing_key).public_bytes(Encoding.DER)


def _entries(entries: Iterable[RevokedEntry], this_update: int) -> list[x509.RevokedCertificate]:
    built: list[x509.RevokedCertificate] = []
    seen: set[bytes] = set()
    for entry in entries:
        serial, revoked_at, _, _ = entry
        if serial in seen:
            raise Refused(f"serial {serial.hex()} stands twice among the entries of a CRL")
        if revoked_at > this_update:
            raise Refused(f"serial {serial.hex()} is revoked after the CRL's thisUpdate")
        seen.add(serial)
        built.append(_entry(*entry))
    return built


def _entry(serial: bytes, revoked_at: int, reason: int, invalidity_date: int | None) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(int.from_bytes(serial, "big"), moment(revoked_at))
    if reason != CRLReason.unspecified:
        builder = builder.add_extension(_reason_code(serial, reason), critical=False)
    if invalidity_date is not None:
        builder = builder.add_extension(x509.InvalidityDate(moment(invalidity_date)), critical=False)
    return builder.build()


def _reason_code(serial: bytes, reason: int) -> x509.CRLReason:
    try:
        return x509.CRLReason(_REASON_FLAGS[CRLReason(reason)])
    except (KeyError, ValueError) as error:
        raise Refused(f"serial {serial.hex()}: reason {reason} may not stand in a complete CRL") from error


def _distribution_point(crl_url: str) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(check_url(crl_url, "crl_url"))],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
