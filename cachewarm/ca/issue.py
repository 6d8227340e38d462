"""End-entity certificates, for a key made here or a request brought along. RFC 5280 4.2, RFC 2986 (requests)."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from cachewarm.ca.authority import Authority, authority_key_identifier
from cachewarm.ca.certificate import Issued, moment, new_serial
from cachewarm.ca.odd_names import sign_below
from cachewarm.ca.profiles import DIGITAL_SIGNATURE, TLS_SERVER, Pointers, Profile, parse_names
from cachewarm.errors import Refused
from responder.domain.certificate import UNREADABLE
from responder.domain.serial import serial_octets
from responder.domain.signature import PublicKey, scheme_of

#: ub-common-name, RFC 5280 A.1.
MAX_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class Terms:
    """Contents of a certificate besides its key and names; a validity of None is the profile's, cut to the CA's end."""

    pointers: Pointers
    profile: Profile = TLS_SERVER
    validity_s: int | None = None
    must_staple: bool = False

    def __post_init__(self) -> None:
        if self.must_staple and not self.pointers.ocsp_url:
            raise Refused("must-staple without an OCSP URL makes a certificate that no server can use")


def issue(
    authority: Authority,
    public_key: PublicKey,
    terms: Terms,
    *,
    names: Sequence[str],
    now: int,
    subject: x509.Name | None = None,
) -> Issued:
    """A certificate for that key; without a subject its common name is the first of the names."""
    return _issue(authority, public_key, terms, alternatives=parse_names(names), subject=subject, now=now)


def issue_request(
    authority: Authority,
    octets: bytes,
    terms: Terms,
    *,
    now: int,
    names: Sequence[str] = (),
) -> Issued:
    """A certificate for a request, PEM or DER, whose signature holds.

    Of the request only the key, the subject and (unless names are given) the subjectAltName are taken.
    """
    request = read_request(octets)
    alternatives = parse_names(names) or _requested_names(request)
    subject = request.subject if request.subject.rdns else None
    return _issue(
        authority, check_key(request.public_key()), terms, alternatives=alternatives, subject=subject, now=now
    )


def read_request(octets: bytes) -> x509.CertificateSigningRequest:
    """A certification request, PEM or DER; Refused when it is none, or when its signature does not hold."""
    try:
        is_pem = b"-----BEGIN" in octets
        request = x509.load_pem_x509_csr(octets) if is_pem else x509.load_der_x509_csr(octets)
        _ = request.subject, request.extensions, request.public_key()
        holds = request.is_signature_valid
    except UNREADABLE as error:
        raise Refused(f"not a certification request: {error}") from error
    if not holds:
        raise Refused("the request's signature does not hold: whoever sent it may not have the key")
    return request


def check_key(public_key: object) -> PublicKey:
    """The key itself; Refused when it is of no supported kind or too short."""
    try:
        scheme_of(public_key)
    except ValueError as error:
        raise Refused(str(error)) from error
    return public_key  # type: ignore[return-value]


def _issue(
    authority: Authority,
    public_key: PublicKey,
    terms: Terms,
    *,
    alternatives: list[x509.GeneralName],
    subject: x509.Name | None,
    now: int,
) -> Issued:
    _check_names(alternatives, terms.profile)
    subject = _common_name(alternatives) if subject is None else subject
    not_before, not_after = authority.window(now, terms.validity_s, terms.profile.validity_s)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(authority.certificate.subject)
    serial = new_serial()
    builder = builder.public_key(check_key(public_key)).serial_number(serial)
    builder = builder.not_valid_before(moment(not_before)).not_valid_after(moment(not_after))
    for extension, critical in _extensions(authority, public_key, terms, serial_octets(serial)):
        builder = builder.add_extension(extension, critical)
    if alternatives:  # critical when it is the only name, RFC 5280 4.2.1.6
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=not subject.rdns)
    return Issued.of(sign_below(builder, authority.certificate, authority.key))


def _extensions(
    authority: Authority, public_key: PublicKey, terms: Terms, serial: bytes
) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (DIGITAL_SIGNATURE, True),
        (x509.ExtendedKeyUsage([terms.profile.extended_key_usage]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (authority_key_identifier(authority.certificate), False),
    ]
    found += [(extension, False) for extension in terms.pointers.extensions(serial)]
    if terms.must_staple:
        found.append((x509.TLSFeature([x509.TLSFeatureType.status_request]), False))
    return found


def _check_names(alternatives: list[x509.GeneralName], profile: Profile) -> None:
    hosts = [name for name in alternatives if isinstance(name, (x509.DNSName, x509.IPAddress))]
    if profile.needs_host and not hosts:
        raise Refused(f"a {profile.name} certificate needs a host name or an address")
    if not alternatives:
        raise Refused("a certificate needs a name")
    if len(set(alternatives)) != len(alternatives):
        raise Refused("a name is given twice")


def _common_name(alternatives: list[x509.GeneralName]) -> x509.Name:
    first = str(alternatives[0].value)
    if len(first) > MAX_COMMON_NAME:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, first)])


def _requested_names(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []
