"""A CRL read back by a second library, for whoever must not trust the one that wrote it.

Pure: DER in, values out. `peek_*` does not check the signature. RFC 5280 5.1. asn1crypto reads the fields before and
after the entries; cryptography's parser, in Rust, the entries when they are asked for: about 1 us each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from asn1crypto import crl as asn1
from asn1crypto import parser
from asn1crypto import x509 as asn1_x509
from cryptography import x509

from cachewarm.crl.plan import RevokedEntry
from responder.domain.serial import serial_octets
from responder.domain.status import CRLReason

#: Fields of an issuing distribution point that make a CRL say less than everything (RFC 5280 5.2.5).
_SCOPE = (
    "only_contains_user_certs",
    "only_contains_ca_certs",
    "only_some_reasons",
    "indirect_crl",
    "only_contains_attribute_certs",
)


@dataclass(frozen=True, kw_only=True)
class ReadCRL:
    """What a CRL says; times in epoch seconds, `number` None when it has none, `critical` the names of extensions.

    `signed_part` is where in `der` the TBSCertList begins and ends: a large CRL is held once.
    """

    signed_part: tuple[int, int]
    signature: bytes = field(repr=False)
    signature_algorithm: bytes
    inner_signature_algorithm: bytes
    version: int
    issuer_der: bytes = field(repr=False)
    this_update: int
    next_update: int | None
    number: int | None
    authority_key_identifier: bytes | None
    base_number: int | None
    freshest: tuple[str, ...]
    has_distribution_point: bool
    urls: tuple[str, ...]
    scope: tuple[str, ...]
    critical: frozenset[str]
    der: bytes = field(repr=False)

    @property
    def tbs(self) -> bytes:
        """DER of the TBSCertList."""
        return self.der[slice(*self.signed_part)]

    def listed(self) -> "Listed":
        """What the entries say as a whole; ValueError when one does not parse."""
        with _value_errors():
            parsed = x509.load_der_x509_crl(self.der)
            if not len(parsed):
                return Listed(0, 0, 0, 0, 0)
            serials = {entry.serial_number for entry in parsed}
            latest = max(entry.revocation_date_utc for entry in parsed)
            return Listed(len(parsed), len(serials), min(serials), max(serials), int(latest.timestamp()))

    def entries(self) -> tuple[RevokedEntry, ...]:
        """Every entry, in order; ValueError when one does not parse. A tenth of a second for a thousand."""
        with _value_errors():
            revoked = asn1.CertificateList.load(self.der)["tbs_cert_list"]["revoked_certificates"]
            return tuple(_entry(each) for each in revoked or ())


class Listed(NamedTuple):
    """How many entries there are and how many serial numbers, the smallest and the largest, the latest revocation."""

    entries: int
    distinct: int
    smallest: int
    largest: int
    latest: int


def peek_crl(crl_der: bytes) -> ReadCRL:
    """The CRL in that DER; ValueError when it is none, or when octets follow it."""
    with _value_errors():
        return _read(asn1.CertificateList.load(crl_der, strict=True), crl_der)


@contextmanager
def _value_errors() -> Iterator[None]:
    """Asn1crypto raises these others for octets it cannot make sense of."""
    try:
        yield
    except (TypeError, KeyError, OverflowError, AttributeError) as error:
        raise ValueError(f"not a CRL: {error}") from error


def _read(parsed: Any, der: bytes) -> ReadCRL:
    begin = len(der) - len(parsed.contents)
    signed_part = begin, begin + parser.peek(parsed.contents)
    tbs = parsed["tbs_cert_list"]
    if parsed["signature"].contents[:1] != b"\0":  # asn1crypto reads over unused bits of whole octets
        raise ValueError("its signature has unused bits")
    point = parsed.issuing_distribution_point_value
    key = parsed.authority_key_identifier_value
    next_update = tbs["next_update"].native
    base, freshest = parsed.delta_crl_indicator_value, parsed.freshest_crl_value
    return ReadCRL(
        signed_part=signed_part,
        signature=parsed.signature,
        signature_algorithm=parsed["signature_algorithm"].dump(),
        inner_signature_algorithm=tbs["signature"].dump(),
        version=int(tbs["version"]),
        issuer_der=tbs["issuer"].dump(),
        this_update=int(tbs["this_update"].native.timestamp()),
        next_update=None if next_update is None else int(next_update.timestamp()),
        number=None if parsed.crl_number_value is None else parsed.crl_number_value.native,
        authority_key_identifier=None if key is None else key["key_identifier"].native,
        base_number=None if base is None else base.native,
        freshest=() if freshest is None else tuple(url for each in freshest for url in _urls(each)),
        has_distribution_point=point is not None,
        urls=() if point is None else _urls(point),
        scope=() if point is None else tuple(name for name in _SCOPE if point[name].native),
        critical=frozenset(parsed.critical_extensions),
        der=der,
    )


def _urls(point: Any) -> tuple[str, ...]:
    name = point["distribution_point"]
    if name.native is None or name.name != "full_name":
        return ()
    return tuple(each.native for each in name.chosen if isinstance(each.chosen, asn1_x509.URI))


def _entry(each: Any) -> RevokedEntry:
    reason = CRLReason.unspecified
    invalidity_date = None
    for extension in each["crl_entry_extensions"] or ():
        name = extension["extn_id"].native
        if name == "crl_reason":
            reason = CRLReason(int(extension["extn_value"].parsed))
        elif name == "invalidity_date":
            invalidity_date = int(extension["extn_value"].parsed.native.timestamp())
    serial = serial_octets(each["user_certificate"].native)
    return RevokedEntry(serial, int(each["revocation_date"].native.timestamp()), reason, invalidity_date)
