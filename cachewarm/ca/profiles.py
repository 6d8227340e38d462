"""Certificate profiles: what each kind of certificate says, apart from names and keys.

RFC 5280 4.2; RFC 7633 (must-staple). URLs are plain http: fetching a status over TLS would need the very status
(RFC 5280 8). An empty URL is an error, `None` leaves the extension out.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from _fastocsp.crl.entry_writer import shard_of
from cachewarm.errors import Refused

DAY_S = 86400
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII | re.IGNORECASE)


def key_usage(*usages: str) -> x509.KeyUsage:
    """The keyUsage with exactly these bits, by cryptography's names."""
    return x509.KeyUsage(**{usage: usage in usages for usage in _USAGES})


CA_KEY_USAGE = key_usage("key_cert_sign", "crl_sign")
DIGITAL_SIGNATURE = key_usage("digital_signature")


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of end-entity certificate; `validity_s` is its default."""

    name: str
    extended_key_usage: x509.ObjectIdentifier
    needs_host: bool
    validity_s: int = 90 * DAY_S


TLS_SERVER = Profile("tls-server", ExtendedKeyUsageOID.SERVER_AUTH, needs_host=True)
TLS_CLIENT = Profile("tls-client", ExtendedKeyUsageOID.CLIENT_AUTH, needs_host=False)
PROFILES = {profile.name: profile for profile in (TLS_SERVER, TLS_CLIENT)}

ROOT_VALIDITY_S = 3650 * DAY_S
SUB_CA_VALIDITY_S = 1825 * DAY_S
RESPONDER_VALIDITY_S = 30 * DAY_S


@dataclass(frozen=True, slots=True)
class Pointers:
    """Where a certificate says its status and its issuer are found; None leaves one out.

    With shards the distribution point is the URL of the serial's own one, below `crl_url` (RFC 5280 5.2.5).
    """

    ocsp_url: str | None = None
    ca_issuers_url: str | None = None
    crl_url: str | None = None
    crl_shards: int = 0

    def __post_init__(self) -> None:
        for name in ("ocsp_url", "ca_issuers_url", "crl_url"):
            if getattr(self, name) is not None:
                check_url(getattr(self, name), name)

    def crl_url_of(self, serial: bytes) -> str | None:
        """The distribution point of the certificate with that serial number."""
        if self.crl_url is None or not self.crl_shards:
            return self.crl_url
        return f"{self.crl_url}/{shard_of(serial, self.crl_shards)}"

    def extensions(self, serial: bytes) -> list[x509.ExtensionType]:
        """AuthorityInfoAccess and CRLDistributionPoints; never an empty one (RFC 5280 4.2.2.1)."""
        found: list[x509.ExtensionType] = []
        methods = (
            (AuthorityInformationAccessOID.OCSP, self.ocsp_url),
            (AuthorityInformationAccessOID.CA_ISSUERS, self.ca_issuers_url),
        )
        access = [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for method, url in methods if url]
        if access:
            found.append(x509.AuthorityInformationAccess(access))
        crl_url = self.crl_url_of(serial)
        if crl_url:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
            found.append(x509.CRLDistributionPoints([point]))
        return found


def check_url(url: str, name: str) -> str:
    """The URL itself; Refused unless it is an absolute plain-http URL in ASCII."""
    if not url.strip():
        raise Refused(f"{name} is empty: give a URL, or leave it out")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise Refused(f"{name} is not a URL: {url!r} ({error})") from error
    if parts.scheme != "http" or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise Refused(
            f"{name} must be an absolute http:// URL in ASCII, not {url!r}: a status over TLS would need the status"
        )
    return url


def parse_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """The subjectAltName entries: addresses, host names, mail addresses, URIs, each by its form."""
    return [_general_name(name.strip()) for name in names]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    if "://" in name and name.isascii():
        return x509.UniformResourceIdentifier(name)
    local, at, host = name.rpartition("@")
    if _is_host(host.removeprefix("*.") if not at else host) and name.isascii() and (not at or local):
        return x509.RFC822Name(name) if at else x509.DNSName(name)
    raise Refused(
        f"not a name for a certificate: {name!r}; write an address, a host name (IDN as xn--), a mail address or a URI"
    )


def _is_host(host: str) -> bool:
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.split("."))
