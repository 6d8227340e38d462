"""Names that break the string types they use, as OpenSSL and Go read them, in certificates and CRLs.

Some CAs have `&`, `*`, `@` or `_` in a PrintableString, or Latin-1 in a TeletexString. `cryptography` refuses the whole
file for that. It gets a copy whose names are UTF8Strings; every byte that is hashed, compared or verified is the
original's (RFC 5280 7.1, RFC 6960 4.1.1). Pure: DER in, DER out.
"""

from collections.abc import Callable, Iterator
from typing import cast

from asn1crypto import parser
from cryptography import x509

SEQUENCE, BIT_STRING, _SET = (0, 1, 16), (0, 0, 3), (0, 1, 17)
_PRINTABLE, _TELETEX, _UTF8 = 19, 20, 12
#: Class, method, tag, contents of one element of DER.
Element = tuple[int, int, int, bytes]
Positions = Callable[[list[bytes]], tuple[int, ...]]


def readable_certificate(der: bytes) -> bytes:
    """Return a copy of the certificate whose names are readable; ValueError where it is none."""
    return _with_readable_names(der, positions_of_certificate)


def load_crl(der: bytes) -> x509.CertificateRevocationList:
    """Return the CRL, parsed; ValueError where it is none.

    Where its issuer's name is odd, a copy is parsed: its entries and times are the original's, its signature is over
    other bytes (see `responder/domain/signature.py`).
    """
    try:
        return x509.load_der_x509_crl(der)
    except ValueError:
        try:
            copy = _with_readable_names(der, _position_in_crl)
        except (ValueError, StopIteration, IndexError):
            copy = der
        if copy == der:
            raise
        return x509.load_der_x509_crl(copy)


def names_of(cert_der: bytes) -> tuple[bytes, bytes]:
    """Return the DER of a certificate's issuer and subject."""
    fields = [dump(each) for each in elements(next(elements(contents(cert_der)))[3])]
    issuer, subject = positions_of_certificate(fields)
    return fields[issuer], fields[subject]


def positions_of_certificate(fields: list[bytes]) -> tuple[int, ...]:
    """TBSCertificate ::= SEQUENCE { version [0]?, serialNumber, signature, issuer, validity, subject, ... }."""
    first = 1 if fields[0][0] == 0xA0 else 0
    return first + 2, first + 4


def _position_in_crl(fields: list[bytes]) -> tuple[int, ...]:
    """TBSCertList ::= SEQUENCE { version INTEGER?, signature, issuer, ... }."""
    return (2 if fields[0][0] == 0x02 else 1,)


def _with_readable_names(der: bytes, positions: Positions) -> bytes:
    tbs, *rest = elements(contents(der))
    fields = [dump(each) for each in elements(tbs[3])]
    for at in positions(fields):
        fields[at] = _readable_name(fields[at])
    return emit(SEQUENCE, emit(SEQUENCE, b"".join(fields)) + b"".join(map(dump, rest)))


def _readable_name(name: bytes) -> bytes:
    """Name ::= SEQUENCE OF SET OF SEQUENCE { type, value }."""
    sets = []
    for rdn in elements(contents(name)):
        pairs = []
        for pair in elements(rdn[3]):
            kind, value = elements(pair[3])
            pairs.append(emit(SEQUENCE, dump(kind) + _readable_value(value)))
        sets.append(emit(_SET, b"".join(pairs)))
    return emit(SEQUENCE, b"".join(sets))


def _readable_value(value: Element) -> bytes:
    if value[0] == 0 and value[2] in (_PRINTABLE, _TELETEX):
        return emit((0, 0, _UTF8), value[3].decode("latin-1").encode())
    return dump(value)


def contents(der: bytes) -> bytes:
    """Return the contents of the one element that these bytes are; ValueError when more follows."""
    return cast("bytes", parser.parse(der, strict=True)[4])


def elements(octets: bytes) -> Iterator[Element]:
    """Yield the elements one after the other."""
    while octets:
        class_, method, tag, header, content, trailer = parser.parse(octets)
        yield class_, method, tag, content
        octets = octets[len(header) + len(content) + len(trailer) :]


def dump(element: Element) -> bytes:
    """Return the DER of that element."""
    return emit(element[:3], element[3])


def emit(kind: tuple[int, int, int], content: bytes) -> bytes:
    """Return the DER of an element of that class, method and tag."""
    return cast("bytes", parser.emit(*kind, content))
