"""Judge what the CA signer signs: certificates of the profiles that are made here, requests for its own key. Pure.

The TBS is parsed by a library that did not write it. What is not allowed is refused: an extension too many is as wrong
as one that lacks. RFC 5280 4.1, 4.2; RFC 6960 4.2.2.2; RFC 2986. CRLs are judged in crl_policy.py.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from cachewarm.ca.authority import authority_key_identifier
from cachewarm.ca.ca_keys import Purpose
from cachewarm.ca.certificate import BACKDATE_S, epoch
from cachewarm.ca.issue import check_key
from cachewarm.ca.odd_names import load_certificate
from cachewarm.ca.profiles import CA_KEY_USAGE, DIGITAL_SIGNATURE, PROFILES
from cachewarm.ca_signer.wire import Reason
from cachewarm.errors import Refused
from responder.domain.certificate import UNREADABLE
from responder.domain.odd_names import BIT_STRING, SEQUENCE, contents, dump, elements, emit, names_of
from responder.domain.serial import serial_octets
from responder.domain.signature import scheme_of

#: Clocks of the processes of a host agree; a certificate is signed within seconds of its making.
CLOCK_S = 3600
#: Bytes of a TBSCertificate or a request: a thousand names take a tenth of it.
MOST_TBS = 1 << 18
_COMMON = {ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER}
_POINTERS = {ExtensionOID.AUTHORITY_INFORMATION_ACCESS, ExtensionOID.CRL_DISTRIBUTION_POINTS}
_LEAF_USAGES = tuple(x509.ExtendedKeyUsage([profile.extended_key_usage]) for profile in PROFILES.values())
_VERSION_3 = bytes.fromhex("a003020102")


class Forbidden(Refused):
    """A TBS that is not signed, and the rule that it breaks."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Facts that a TBS is judged by: the CA, the time (epoch seconds), the longest life of responder certificates."""

    ca: x509.Certificate
    now: int
    responder_validity_s: int


def judge(purpose: Purpose, tbs: bytes, terms: Terms) -> None:
    """Raise Forbidden unless the TBS is what the purpose says, of this CA and allowed. CRLs are judged elsewhere."""
    if purpose is Purpose.REQUEST:
        _judge_request(tbs, terms)
    elif purpose in _PROFILES:
        _judge_certificate(tbs, terms, _PROFILES[purpose])
    else:
        raise Forbidden(Reason.PURPOSE, f"no policy for the purpose {purpose}")


def algorithm_of(ca: x509.Certificate) -> bytes:
    """Return the DER of the AlgorithmIdentifier of this CA's signatures."""
    return scheme_of(ca.public_key()).algorithm


def _judge_certificate(tbs: bytes, terms: Terms, check: "Callable[[x509.Certificate, Terms], None]") -> None:
    ca_der = terms.ca.public_bytes(Encoding.DER)
    certificate = _parsed(tbs, terms)
    der = certificate.public_bytes(Encoding.DER)
    issuer, subject = names_of(der)
    ours = names_of(ca_der)[1]
    if issuer != ours:
        raise Forbidden(Reason.ISSUER, "its issuer is another name than this CA's subject")
    if subject == ours:
        raise Forbidden(Reason.ISSUER, "its subject is the CA's own: nothing self-signed is signed here")
    if certificate.public_key() == terms.ca.public_key():
        raise Forbidden(Reason.PROFILE, "its key is the CA's own")
    try:
        serial_octets(certificate.serial_number)
        check_key(certificate.public_key())
    except (ValueError, Refused) as error:
        raise Forbidden(Reason.PROFILE, str(error)) from error
    _check_window(certificate, terms)
    check(certificate, terms)


def _parsed(tbs: bytes, terms: Terms) -> x509.Certificate:
    """Return the certificate that the TBS would make, with its algorithm checked."""
    algorithm = algorithm_of(terms.ca)
    try:
        fields = [dump(each) for each in elements(contents(tbs))]
        whole = emit(SEQUENCE, tbs + algorithm + emit(BIT_STRING, b"\0"))
        if emit(SEQUENCE, contents(tbs)) != tbs or fields[0] != _VERSION_3:
            raise Forbidden(Reason.FORM, "it is no TBSCertificate of version 3 in DER")
        certificate = load_certificate(whole)
        _ = list(certificate.extensions), certificate.public_key(), certificate.not_valid_after_utc
    except UNREADABLE as error:
        raise Forbidden(Reason.FORM, f"it is no TBSCertificate: {error}") from error
    except (IndexError, StopIteration) as error:
        raise Forbidden(Reason.FORM, "it is no TBSCertificate") from error
    if fields[2] != algorithm:
        raise Forbidden(Reason.ALGORITHM, "it names another signature algorithm than the key's")
    return certificate


def _check_window(certificate: x509.Certificate, terms: Terms) -> None:
    begins, ends = epoch(certificate.not_valid_before_utc), epoch(certificate.not_valid_after_utc)
    if not epoch(terms.ca.not_valid_before_utc) <= begins < ends <= epoch(terms.ca.not_valid_after_utc):
        raise Forbidden(Reason.WINDOW, "it is not valid within the validity of the CA's certificate")
    if abs(begins - terms.now) > CLOCK_S + BACKDATE_S:
        raise Forbidden(Reason.WINDOW, f"its notBefore is {begins - terms.now:+d} s from now")
    if ends <= terms.now:
        raise Forbidden(Reason.WINDOW, "it has expired already")


def _check_leaf(certificate: x509.Certificate, terms: Terms) -> None:
    """tls-server and tls-client (profiles.py), a certificate of the admin listener among them."""
    found = _extensions(
        certificate,
        terms,
        needed={ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE},
        allowed={ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.TLS_FEATURE, *_POINTERS},
    )
    _require(found, ExtensionOID.BASIC_CONSTRAINTS, x509.BasicConstraints(ca=False, path_length=None))
    _require(found, ExtensionOID.KEY_USAGE, DIGITAL_SIGNATURE)
    if found[ExtensionOID.EXTENDED_KEY_USAGE].value not in _LEAF_USAGES:
        raise Forbidden(Reason.PROFILE, f"its extended key usage is of no profile ({', '.join(PROFILES)})")


def _check_sub_ca(certificate: x509.Certificate, terms: Terms) -> None:
    found = _extensions(
        certificate, terms, needed={ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}, allowed=_POINTERS
    )
    _require(found, ExtensionOID.KEY_USAGE, CA_KEY_USAGE)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    below, above = constraints.value, terms.ca.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not below.ca or not constraints.critical:
        raise Forbidden(Reason.PROFILE, "it is not for a CA: basicConstraints must be critical and say cA")
    if above.path_length is not None and (below.path_length is None or below.path_length >= above.path_length):
        raise Forbidden(Reason.PROFILE, f"the CA's pathLenConstraint of {above.path_length} does not allow it")
    if not certificate.subject.rdns:
        raise Forbidden(Reason.PROFILE, "a CA certificate needs a subject")


def _check_responder(certificate: x509.Certificate, terms: Terms) -> None:
    needed = {ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.OCSP_NO_CHECK}
    found = _extensions(certificate, terms, needed=needed, allowed=set())
    _require(found, ExtensionOID.KEY_USAGE, DIGITAL_SIGNATURE)
    _require(found, ExtensionOID.EXTENDED_KEY_USAGE, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)
    life = epoch(certificate.not_valid_after_utc) - epoch(certificate.not_valid_before_utc)
    if life > terms.responder_validity_s + BACKDATE_S:
        raise Forbidden(
            Reason.WINDOW,
            f"a responder certificate of {life} s is longer than FASTOCSP_OCSP_RESPONDER_VALIDITY of the CA signer",
        )


_PROFILES: dict[Purpose, Callable[[x509.Certificate, Terms], None]] = {
    Purpose.CERTIFICATE: _check_leaf,
    Purpose.SUB_CA: _check_sub_ca,
    Purpose.RESPONDER: _check_responder,
}


def _extensions(
    certificate: x509.Certificate,
    terms: Terms,
    *,
    needed: Iterable[x509.ObjectIdentifier],
    allowed: Iterable[x509.ObjectIdentifier],
) -> dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]:
    """Return the extensions by OID; Forbidden for one too many or too few, or a key identifier that is not right."""
    found = {each.oid: each for each in certificate.extensions}
    wanted = _COMMON | set(needed)
    if missing := wanted - found.keys():
        raise Forbidden(Reason.PROFILE, f"it lacks the extension {_names(missing)}")
    if extra := found.keys() - wanted - set(allowed):
        raise Forbidden(Reason.PROFILE, f"its profile has no extension {_names(extra)}")
    if found[ExtensionOID.AUTHORITY_KEY_IDENTIFIER].value != authority_key_identifier(terms.ca):
        raise Forbidden(Reason.ISSUER, "its authority key identifier is not the CA's key identifier")
    own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    if found[ExtensionOID.SUBJECT_KEY_IDENTIFIER].value != own:
        raise Forbidden(Reason.PROFILE, "its subject key identifier is not that of its key")
    return found


def _require(
    found: dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]],
    oid: x509.ObjectIdentifier,
    value: x509.ExtensionType,
    critical: bool = True,
) -> None:
    if found[oid].value != value or found[oid].critical != critical:
        raise Forbidden(Reason.PROFILE, f"its extension {_names([oid])} is not that of the profile")


def _names(oids: Iterable[x509.ObjectIdentifier]) -> str:
    return ", ".join(sorted(oid._name for oid in oids))  # the only way to the name that cryptography prints


def _judge_request(tbs: bytes, terms: Terms) -> None:
    """CertificationRequestInfo ::= SEQUENCE { version 0, subject, key, attributes }: of this CA's name and key."""
    try:
        whole = emit(SEQUENCE, tbs + algorithm_of(terms.ca) + emit(BIT_STRING, b"\0"))
        request = x509.load_der_x509_csr(whole)
        fields = [dump(each) for each in elements(contents(tbs))]
        key, subject = request.public_key(), fields[1]
    except UNREADABLE as error:
        raise Forbidden(Reason.FORM, f"it is no certification request: {error}") from error
    except IndexError as error:
        raise Forbidden(Reason.FORM, "it is no certification request") from error
    if subject != names_of(terms.ca.public_bytes(Encoding.DER))[1]:
        raise Forbidden(Reason.ISSUER, "its subject is another name than this CA's")
    if key != terms.ca.public_key():
        raise Forbidden(Reason.ISSUER, "its key is not this CA's")
