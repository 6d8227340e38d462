"""CRLs read back by a second library, for checks that must not trust the one that wrote them.

Pure: DER in, values out. Signatures are not checked here. RFC 5280 5.1. asn1crypto reads the fields before and after
the entries, from a copy without them, so that a large CRL is held once. Entries are parsed by `cryptography`, in Rust,
and summarized by the compiled reader, which has nothing in common with the compiled writer: no object per entry.
"""

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from asn1crypto import core, parser
from asn1crypto import crl as asn1
from asn1crypto import x509 as asn1_x509

from _fastocsp.crl.entry_comparison import summarize_entries
from _fastocsp.crl.entry_reader import entries_of, split_entries
from _fastocsp.crl.fields import header
from _fastocsp.wire.errors import WireError
from cachewarm.crl.plan import RevokedEntry
from responder.domain.odd_names import load_crl
from responder.domain.serial import serial_octets
from responder.domain.status import CRLReason

_SEQUENCE = 0x30
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
    """The fields of a CRL; times in epoch seconds, `number` None when it has none, `critical` the names of extensions.

    URLs are the bytes of the CRL, not normalized. `signed_part` is where in `der` the TBSCertList begins and ends, so
    that a large CRL is held once.
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
    def tbs(self) -> memoryview:
        """DER of the TBSCertList, without a copy."""
        return memoryview(self.der)[slice(*self.signed_part)]

    def summary(self) -> "EntrySummary":
        """Count the entries; ValueError when one does not parse, or when the two readers disagree."""
        with _value_errors():
            parsed = load_crl(self.der)
            rows, unnameable, latest, ascends = summarize_entries(entries_of(self.der))
            entries = rows + unnameable
            if len(parsed) != entries:
                raise ValueError(f"{len(parsed)} entries for one reader, {entries} for the other")
            distinct = entries if ascends else len({entry.serial_number for entry in parsed})
            return EntrySummary(entries, distinct, unnameable, latest)

    def entries(self) -> tuple[RevokedEntry, ...]:
        """Every entry, in order; ValueError when one does not parse. A tenth of a second for a thousand."""
        with _value_errors():
            revoked = asn1.CertificateList.load(self.der)["tbs_cert_list"]["revoked_certificates"]
            return tuple(_entry(each) for each in revoked or ())


class EntrySummary(NamedTuple):
    """Number of entries, of different serial numbers, of those that no certificate can have; latest revocation time."""

    entries: int
    distinct: int
    unnameable: int
    latest: int


def peek_crl(crl_der: bytes) -> ReadCRL:
    """Parse the CRL in that DER; ValueError when it is none, or when bytes follow it."""
    with _value_errors():
        bare, signed_part = _bare(crl_der)
        return _read(asn1.CertificateList.load(bare, strict=True), crl_der, signed_part)


def _bare(der: bytes) -> tuple[bytes, tuple[int, int] | None]:
    """Return the CRL without its revokedCertificates and where in `der` the TBSCertList is.

    Return `der` itself when there is nothing to leave out, or for asn1crypto to tell what is wrong with it.
    """
    try:
        begin, content, first, end, tbs_end = split_entries(der)
    except WireError:
        return der, None
    if first == end:
        return der, None
    opened = first - len(header(_SEQUENCE, end - first))
    return without_entries(der, der[end:], content, opened, tbs_end - end), (begin, tbs_end)


def without_entries(before: bytes, after: bytes, content: int, opened: int, tbs_rest: int) -> bytes:
    """Return a CRL without its revokedCertificates, of the bytes `before` and `after` these.

    `content` is where the content of the TBSCertList begins, `opened` where the list of entries does. The first
    `tbs_rest` bytes after the list belong to the TBSCertList.
    """
    fields = before[content:opened] + after[:tbs_rest]
    inside = header(_SEQUENCE, len(fields)) + fields + after[tbs_rest:]
    return header(_SEQUENCE, len(inside)) + inside


@contextmanager
def _value_errors() -> Iterator[None]:
    """Turn whatever a parser raises into ValueError; a panic in Rust is not even an Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError):
        raise
    except ValueError:
        raise
    except BaseException as error:
        raise ValueError(f"not a CRL: {type(error).__name__}: {error}") from error


def _read(parsed: Any, der: bytes, signed_part: tuple[int, int] | None) -> ReadCRL:
    if signed_part is None:
        begin = len(der) - len(parsed.contents)
        signed_part = begin, begin + parser.peek(parsed.contents)
    tbs = parsed["tbs_cert_list"]
    if parsed["signature"].contents[:1] != b"\0":  # asn1crypto reads over unused bits of whole bytes
        raise ValueError("its signature has unused bits")
    _refuse_repeated(tbs["crl_extensions"])
    point = parsed.issuing_distribution_point_value
    key = parsed.authority_key_identifier_value
    next_update = tbs["next_update"].native
    base, freshest = parsed.delta_crl_indicator_value, parsed.freshest_crl_value
    return ReadCRL(
        signed_part=signed_part,
        signature=parsed.signature,
        signature_algorithm=parsed["signature_algorithm"].dump(),
        inner_signature_algorithm=tbs["signature"].dump(),
        version=0 if isinstance(tbs["version"], core.Void) else int(tbs["version"]),
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


def _refuse_repeated(extensions: Any) -> None:
    """RFC 5280 5.2 with 4.2: an extension is there once; a second one would be read by some and ignored by others."""
    names = [each["extn_id"].dotted for each in extensions or ()]
    if len(names) != len(set(names)):
        raise ValueError("an extension is there twice")


def _urls(point: Any) -> tuple[str, ...]:
    name = point["distribution_point"]
    if name.native is None or name.name != "full_name":
        return ()
    return tuple(
        each.chosen.contents.decode("latin-1") for each in name.chosen if isinstance(each.chosen, asn1_x509.URI)
    )


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
