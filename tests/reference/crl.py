"""A CRL's TBSCertList by cryptography's builder: the second opinion on our encoder, byte for byte."""

import datetime
from collections.abc import Iterable
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from _fastocsp.crl.fields import Fields

KEY = ec.generate_private_key(ec.SECP256R1())
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
REASONS = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    8: x509.ReasonFlags.remove_from_crl,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}


class Entry(NamedTuple):
    """An entry of revokedCertificates; times in epoch seconds."""

    serial: bytes
    revoked_at: int
    reason: int = 0
    invalidity_date: int | None = None
    certificate_issuer: x509.Name | None = None


def reference_tbs(issuer: x509.Name, entries: Iterable[Entry], fields: Fields) -> bytes:
    """DER of the TBSCertList that the builder makes of the same values."""
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=issuer,
        last_update=moment(fields.this_update),
        next_update=moment(fields.next_update),
        revoked_certificates=[_entry(entry) for entry in entries],
    )
    key = x509.AuthorityKeyIdentifier(fields.authority_key_identifier, None, None)
    builder = builder.add_extension(key, critical=False)
    builder = builder.add_extension(x509.CRLNumber(fields.number), critical=False)
    if fields.base_number is not None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(fields.base_number), critical=True)
    if fields.scope.is_said:
        builder = builder.add_extension(_scope(fields), critical=True)
    if fields.freshest_url is not None:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(fields.freshest_url)], None, None, None)
        builder = builder.add_extension(x509.FreshestCRL([point]), critical=False)
    if fields.expired_since is not None:
        value = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.60"), _generalized(fields.expired_since))
        builder = builder.add_extension(value, critical=False)
    return builder.sign(KEY, hashes.SHA256()).tbs_certlist_bytes


def moment(epoch: int) -> datetime.datetime:
    """Epoch seconds as the builder takes them."""
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=epoch)


def _entry(entry: Entry) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(int.from_bytes(entry.serial, "big"), moment(entry.revoked_at))
    if entry.reason:
        builder = builder.add_extension(x509.CRLReason(REASONS[entry.reason]), critical=False)
    if entry.invalidity_date is not None:
        builder = builder.add_extension(x509.InvalidityDate(moment(entry.invalidity_date)), critical=False)
    if entry.certificate_issuer is not None:
        names = [x509.DirectoryName(entry.certificate_issuer)]
        builder = builder.add_extension(x509.CertificateIssuer(names), critical=True)
    return builder.build()


def _scope(fields: Fields) -> x509.IssuingDistributionPoint:
    scope = fields.scope
    return x509.IssuingDistributionPoint(
        full_name=None if scope.url is None else [x509.UniformResourceIdentifier(scope.url)],
        relative_name=None,
        only_contains_user_certs=scope.only_user_certs,
        only_contains_ca_certs=scope.only_ca_certs,
        only_some_reasons=None,
        indirect_crl=scope.indirect_crl,
        only_contains_attribute_certs=False,
    )


def _generalized(epoch: int) -> bytes:
    return b"\x18\x0f" + moment(epoch).strftime("%Y%m%d%H%M%SZ").encode()
