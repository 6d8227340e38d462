"""A CRL read back by a second library, for whoever must not trust the one that wrote it.

Pure: DER in, values out. `peek_*` does not check the signature. RFC 5280 5.1. The fields before and after the entries
are read at once, the entries when they are first asked for: about 50 us each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from asn1crypto import crl as asn1
from asn1crypto import x509 as asn1_x509

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
    """What a CRL says; times in epoch seconds, `number` None when it has none, `critical` the names of extensions."""

    tbs: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    signature_algorithm: bytes
    inner_signature_algorithm: bytes
    version: int
    issuer_der: bytes = field(repr=False)
    this_update: int
    next_update: int | None
    number: int | None
    authority_key_identifier: bytes | None
    is_delta: bool
    has_distribution_point: bool
    urls: tuple[str, ...]
    scope: tuple[str, ...]
    critical: frozenset[str]
    _revoked: Any = field(repr=False, compare=False)

    @cached_property
    def entries(self) -> tuple[RevokedEntry, ...]:
        """Every entry, in order; ValueError when one does not parse."""
        with _value_errors():
            return tuple(_entry(each) for each in self._revoked or ())


def peek_crl(crl_der: bytes) -> ReadCRL:
    """The CRL in that DER; ValueError when it is none, or when octets follow it."""
    with _value_errors():
        return _read(asn1.CertificateList.load(crl_der, strict=True))


@contextmanager
def _value_errors() -> Iterator[None]:
    """Asn1crypto raises these others for octets it cannot make sense of."""
    try:
        yield
    except (TypeError, KeyError, OverflowError, AttributeError) as error:
        raise ValueError(f"not a CRL: {error}") from error


def _read(parsed: Any) -> ReadCRL:
    tbs = parsed["tbs_cert_list"]
    if parsed["signature"].contents[:1] != b"\0":  # asn1crypto reads over unused bits of whole octets
        raise ValueError("its signature has unused bits")
    point = parsed.issuing_distribution_point_value
    key = parsed.authority_key_identifier_value
    next_update = tbs["next_update"].native
    return ReadCRL(
        tbs=tbs.dump(),
        signature=parsed.signature,
        signature_algorithm=parsed["signature_algorithm"].dump(),
        inner_signature_algorithm=tbs["signature"].dump(),
        version=int(tbs["version"]),
        issuer_der=tbs["issuer"].dump(),
        this_update=int(tbs["this_update"].native.timestamp()),
        next_update=None if next_update is None else int(next_update.timestamp()),
        number=None if parsed.crl_number_value is None else parsed.crl_number_value.native,
        authority_key_identifier=None if key is None else key["key_identifier"].native,
        is_delta=parsed.delta_crl_indicator_value is not None,
        has_distribution_point=point is not None,
        urls=() if point is None else _urls(point),
        scope=() if point is None else tuple(name for name in _SCOPE if point[name].native),
        critical=frozenset(parsed.critical_extensions),
        _revoked=tbs["revoked_certificates"],
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
