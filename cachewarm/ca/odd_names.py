"""Certificates and CRLs whose names break the string types they use, as OpenSSL and Go read them.

Some CAs have `&`, `*`, `@` or `_` in a PrintableString, or Latin-1 in a TeletexString. `cryptography` refuses the whole
file for that. Here it reads a copy whose names are UTF8Strings; every byte that is hashed, compared, signed or stored
is the original's (RFC 5280 7.1: names are compared, and we compare them as bytes; RFC 6960 4.1.1 hashes them so).
"""

from collections.abc import Iterator
from typing import Any, cast

from asn1crypto import parser, pem
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.keys.builders import sign_certificate
from cachewarm.keys.signing_key import SigningKey
from responder.domain.certificate import read_facts

_SEQUENCE, _SET = (0, 1, 16), (0, 1, 17)
_PRINTABLE, _TELETEX, _UTF8 = 19, 20, 12
#: Class, method, tag, contents of one element of DER.
Element = tuple[int, int, int, bytes]


class OddCertificate:
    """A certificate that only a copy of can be parsed. It has the interface of `x509.Certificate`.

    Fields that are for people or that have no names in them are read from the copy; bytes are the original's.
    """

    def __init__(self, der: bytes) -> None:
        self._der = der
        read_facts(der)
        copy = _with_readable_names(der, _positions_of_certificate)
        if copy == der:
            raise ValueError("its names are not what is wrong with it")
        self._copy = x509.load_der_x509_certificate(copy)
        self.tbs_certificate_bytes = _dump(next(_elements(_contents(der))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._copy, name)

    def __eq__(self, other: object) -> bool:
        return _der_of(other) == self._der

    def __hash__(self) -> int:
        return hash(self._der)

    def public_bytes(self, encoding: Encoding) -> bytes:
        """Return the original."""
        if encoding is Encoding.DER:
            return self._der
        return bytes(pem.armor("CERTIFICATE", self._der))

    def fingerprint(self, algorithm: hashes.HashAlgorithm) -> bytes:
        """Return the hash of the original."""
        digest = hashes.Hash(algorithm)
        digest.update(self._der)
        return digest.finalize()

    def verify_directly_issued_by(self, issuer: x509.Certificate) -> None:
        """Raise ValueError for another name, InvalidSignature for another key."""
        verify_issued(cast("x509.Certificate", self), issuer)


def load_certificate(der: bytes) -> x509.Certificate:
    """Return the certificate of that DER, its names tolerated. Raises what `cryptography` raises otherwise."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.subject, certificate.issuer
    except ValueError:
        try:
            return cast("x509.Certificate", OddCertificate(der))
        except (ValueError, StopIteration, IndexError):
            pass
        raise
    return certificate


def readable_crl(der: bytes) -> bytes:
    """Return a CRL that `cryptography` can parse: the same bytes, or a copy whose issuer is readable.

    Its entries are the original's; its signature is not the copy's.
    """
    try:
        x509.load_der_x509_crl(der)
    except ValueError:
        try:
            return _with_readable_names(der, _position_in_crl)
        except (ValueError, StopIteration, IndexError):
            return der
    return der


def verify_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Raise ValueError for an issuer of another name (compared as bytes), InvalidSignature for one of another key."""
    if not isinstance(certificate, OddCertificate) and not isinstance(issuer, OddCertificate):
        certificate.verify_directly_issued_by(issuer)
        return
    if names_of(certificate.public_bytes(Encoding.DER))[0] != names_of(issuer.public_bytes(Encoding.DER))[1]:
        raise ValueError("the issuer's name is another one")
    key, hash_ = issuer.public_key(), certificate.signature_hash_algorithm
    signature, tbs = certificate.signature, certificate.tbs_certificate_bytes
    match key:
        case rsa.RSAPublicKey() if hash_ is not None:
            parameters = certificate.signature_algorithm_parameters
            key.verify(signature, tbs, cast("padding.PKCS1v15", parameters), hash_)
        case ec.EllipticCurvePublicKey():
            key.verify(signature, tbs, cast("ec.ECDSA", certificate.signature_algorithm_parameters))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            key.verify(signature, tbs)
        case _:
            raise UnsupportedAlgorithm("the issuer's key is of a kind that cannot be verified here")


def sign_below(builder: x509.CertificateBuilder, ca: x509.Certificate, key: SigningKey) -> x509.Certificate:
    """Return the certificate that the CA's key signs, with the CA's name as its own bytes have it."""
    made = sign_certificate(builder, key)
    der = made.public_bytes(Encoding.DER)
    name = names_of(ca.public_bytes(Encoding.DER))[1]
    if names_of(der)[0] == name:
        return made
    tbs, algorithm, _ = _elements(_contents(der))
    fields = [_dump(each) for each in _elements(tbs[3])]
    fields[_positions_of_certificate(fields)[0]] = name
    body = _emit(_SEQUENCE, b"".join(fields))
    signature = _emit((0, 0, 3), b"\0" + key.sign(body))
    return load_certificate(_emit(_SEQUENCE, body + _dump(algorithm) + signature))


def names_of(cert_der: bytes) -> tuple[bytes, bytes]:
    """Return the DER of a certificate's issuer and subject."""
    fields = [_dump(each) for each in _elements(next(_elements(_contents(cert_der)))[3])]
    issuer, subject = _positions_of_certificate(fields)
    return fields[issuer], fields[subject]


def _positions_of_certificate(fields: list[bytes]) -> tuple[int, ...]:
    """TBSCertificate ::= SEQUENCE { version [0]?, serialNumber, signature, issuer, validity, subject, ... }."""
    first = 1 if fields[0][0] == 0xA0 else 0
    return first + 2, first + 4


def _position_in_crl(fields: list[bytes]) -> tuple[int, ...]:
    """TBSCertList ::= SEQUENCE { version INTEGER?, signature, issuer, ... }."""
    return (2 if fields[0][0] == 0x02 else 1,)


def _with_readable_names(der: bytes, positions: Any) -> bytes:
    tbs, *rest = _elements(_contents(der))
    fields = [_dump(each) for each in _elements(tbs[3])]
    for at in positions(fields):
        fields[at] = _readable_name(fields[at])
    return _emit(_SEQUENCE, _emit(_SEQUENCE, b"".join(fields)) + b"".join(map(_dump, rest)))


def _readable_name(name: bytes) -> bytes:
    """Name ::= SEQUENCE OF SET OF SEQUENCE { type, value }."""
    sets = []
    for rdn in _elements(_contents(name)):
        pairs = []
        for pair in _elements(rdn[3]):
            kind, value = _elements(pair[3])
            pairs.append(_emit(_SEQUENCE, _dump(kind) + _readable_value(value)))
        sets.append(_emit(_SET, b"".join(pairs)))
    return _emit(_SEQUENCE, b"".join(sets))


def _readable_value(value: Element) -> bytes:
    if value[0] == 0 and value[2] in (_PRINTABLE, _TELETEX):
        return _emit((0, 0, _UTF8), value[3].decode("latin-1").encode())
    return _dump(value)


def _der_of(certificate: object) -> bytes | None:
    if isinstance(certificate, OddCertificate | x509.Certificate):
        return certificate.public_bytes(Encoding.DER)
    return None


def _contents(der: bytes) -> bytes:
    return cast("bytes", parser.parse(der, strict=True)[4])


def _elements(octets: bytes) -> Iterator[Element]:
    while octets:
        class_, method, tag, header, content, trailer = parser.parse(octets)
        yield class_, method, tag, content
        octets = octets[len(header) + len(content) + len(trailer) :]


def _dump(element: Element) -> bytes:
    return _emit(element[:3], element[3])


def _emit(kind: tuple[int, int, int], content: bytes) -> bytes:
    return cast("bytes", parser.emit(*kind, content))
