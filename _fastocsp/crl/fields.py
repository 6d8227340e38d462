"""TBSCertList around its entries: the fields before them and the extensions after them, RFC 5280 5.1.2 and 5.2.

Pure. The entries themselves come from `_fastocsp.crl.entry_writer`; nothing here is done once an entry.
"""

from dataclasses import dataclass

from _fastocsp.crl.entry_buffer import EntryBuffer
from _fastocsp.crl.entry_writer import time_element
from _fastocsp.wire.sink import tlv, unsigned_integer

_BOOLEAN, _BIT_STRING, _OCTET_STRING, _OID, _SEQUENCE = 0x01, 0x03, 0x04, 0x06, 0x30
_TRUE = tlv(_BOOLEAN, b"\xff")
_V2 = unsigned_integer(b"\1")
_URI = 0x86  # uniformResourceIdentifier [6] of a GeneralName
_CRL_NUMBER, _DELTA_CRL_INDICATOR, _ISSUING_DISTRIBUTION_POINT = b"\x55\x1d\x14", b"\x55\x1d\x1b", b"\x55\x1d\x1c"
_AUTHORITY_KEY_IDENTIFIER, _FRESHEST_CRL, _EXPIRED_CERTS_ON_CRL = b"\x55\x1d\x23", b"\x55\x1d\x2e", b"\x55\x1d\x3c"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """IssuingDistributionPoint (RFC 5280 5.2.5), always critical; what is not said is not encoded."""

    url: str | None = None
    only_user_certs: bool = False
    only_ca_certs: bool = False
    indirect_crl: bool = False

    def __post_init__(self) -> None:
        if self.only_user_certs and self.only_ca_certs:
            raise ValueError("a CRL of user certificates only and CA certificates only has no scope")

    @property
    def is_said(self) -> bool:
        """Whether there is anything to say: an empty extension is not allowed."""
        return self.url is not None or self.only_user_certs or self.only_ca_certs or self.indirect_crl

    def encode(self) -> bytes:
        """DER of the IssuingDistributionPoint."""
        url = b"" if self.url is None else tlv(0xA0, _full_name(self.url))
        flags = ((0x81, self.only_user_certs), (0x82, self.only_ca_certs), (0x84, self.indirect_crl))
        return tlv(_SEQUENCE, url + b"".join(tlv(tag, b"\xff") for tag, said in flags if said))


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Fields of a CRL besides its entries; times in epoch seconds.

    signature_algorithm, issuer  DER, taken over byte for byte
    base_number                  of a delta CRL: BaseCRLNumber (5.2.4)
    freshest_url                 of a complete CRL: where its delta is (5.2.6)
    expired_since                entries stay although their certificates ended, since then (X.509 expiredCertsOnCRL)
    """

    signature_algorithm: bytes
    issuer: bytes
    authority_key_identifier: bytes
    number: int
    this_update: int
    next_update: int
    scope: Scope
    base_number: int | None = None
    freshest_url: str | None = None
    expired_since: int | None = None

    def head(self) -> bytes:
        """Return the DER of version to nextUpdate."""
        times = time_element(self.this_update) + time_element(self.next_update)
        return _V2 + self.signature_algorithm + self.issuer + times

    def tail(self) -> bytes:
        """Return the DER of crlExtensions [0]."""
        key = tlv(_SEQUENCE, tlv(0x80, self.authority_key_identifier))
        found = [_extension(_AUTHORITY_KEY_IDENTIFIER, key), _extension(_CRL_NUMBER, _unsigned(self.number))]
        if self.base_number is not None:
            found.append(_extension(_DELTA_CRL_INDICATOR, _unsigned(self.base_number), critical=True))
        if self.scope.is_said:
            found.append(_extension(_ISSUING_DISTRIBUTION_POINT, self.scope.encode(), critical=True))
        if self.freshest_url is not None:
            point = tlv(_SEQUENCE, tlv(0xA0, _full_name(self.freshest_url)))
            found.append(_extension(_FRESHEST_CRL, tlv(_SEQUENCE, point)))
        if self.expired_since is not None:
            found.append(_extension(_EXPIRED_CERTS_ON_CRL, time_element(self.expired_since, generalized=True)))
        return tlv(0xA0, tlv(_SEQUENCE, b"".join(found)))


def tbs_frame(fields: Fields, size: int) -> tuple[bytes, bytes]:
    """Return what is before and after `size` bytes of entries in the TBSCertList. Without entries no list (5.1.2.6)."""
    head, tail = fields.head(), fields.tail()
    opened = header(_SEQUENCE, size) if size else b""
    content = len(head) + len(opened) + size + len(tail)
    return header(_SEQUENCE, content) + head + opened, tail


def certificate_list(
    frame: tuple[bytes, bytes], entries: EntryBuffer, signature_algorithm: bytes, signature: bytes
) -> bytes:
    """Return the signed CRL, RFC 5280 5.1.1; the entries are moved into it, and the buffer is empty afterwards."""
    before, after = frame
    end = signature_algorithm + tlv(_BIT_STRING, b"\0" + signature)
    opened = header(_SEQUENCE, len(before) + len(entries) + len(after) + len(end))
    return entries.framed(opened + before, after + end)


def header(tag: int, n: int) -> bytes:
    """Identifier and length bytes of an element with n content bytes."""
    if n < 0x80:
        return bytes((tag, n))
    length = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length


def _extension(oid: bytes, value: bytes, *, critical: bool = False) -> bytes:
    return tlv(_SEQUENCE, tlv(_OID, oid) + (_TRUE if critical else b"") + tlv(_OCTET_STRING, value))


def _full_name(url: str) -> bytes:
    return tlv(0xA0, tlv(_URI, url.encode("ascii")))


def _unsigned(number: int) -> bytes:
    return unsigned_integer(number.to_bytes((number.bit_length() + 7) // 8 or 1, "big"))
