"""Which links to Postgres and Redis are authenticated.

Unix sockets and loopback addresses are trusted. On any other link a stranger could answer in the ledger's place: a
proxy that refuses TLS and rewrites the head of the feed makes a confirmation false. So Postgres needs
`sslmode=verify-full` with a CA, and Redis needs `rediss://` with a CA, unless INSECURE_LINKS names the store.
"""

import inspect
import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

STORES = ("postgres", "redis")
_REDIS_PORT = 6379
_POSTGRES_FIX = "add sslmode=verify-full and sslrootcert=/path/to/ca.pem to its query"
_REDIS_FIX = "write rediss:// with ssl_ca_certs=/path/to/ca.pem in its query"


def postgres_problem(url: str) -> str | None:
    """Return why a postgresql:// URL opens an unauthenticated link, or None when it does not."""
    if _is_local_at_a_glance(url):
        return None
    try:
        addresses, parameters = _postgres_addresses(url)
    except Exception as error:  # of asyncpg's many: whatever it is, this URL opens no link
        return f"cannot be read: {error}"
    remote = [address[0] for address in addresses if not isinstance(address, str) and not is_loopback(address[0])]
    if not remote or parameters.sslmode.name == "verify_full":
        return None
    return f"the link to {', '.join(remote)} is not authenticated: {_POSTGRES_FIX}"


def postgres_ports(url: str) -> list[int]:
    """Return the TCP ports of the servers that a postgresql:// URL names, none for Unix sockets."""
    if _is_local_at_a_glance(url):
        return []
    return [address[1] for address in _postgres_addresses(url)[0] if not isinstance(address, str)]


def redis_ports(url: str) -> list[int]:
    """Return the TCP port of the server that a redis:// or rediss:// URL names, none for a Unix socket."""
    from redis.connection import parse_url

    words = parse_url(url)  # type: ignore[no-untyped-call]
    return [] if "path" in words else [words.get("port", _REDIS_PORT)]


def redis_problem(url: str) -> str | None:
    """Return why a redis:// URL opens an unauthenticated link, or None when it does not."""
    from redis.connection import SSLConnection, parse_url

    try:
        words = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        return f"cannot be read: {error}; one server per URL"
    host = words.get("host", "localhost")
    if "path" in words or is_loopback(host):
        return None
    is_verified = (
        words.get("connection_class") is SSLConnection
        and str(words.get("ssl_cert_reqs", "required")) == "required"
        and str(words.get("ssl_check_hostname", True)).lower() not in ("false", "0", "no")
        and any(words.get(name) for name in ("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data"))
    )
    return None if is_verified else f"the link to {host} is not authenticated: {_REDIS_FIX}"


def link_problems(database_url: str | None, redis_url: str | None, insecure: tuple[str, ...]) -> Iterator[str]:
    """Yield a sentence per link that is neither authenticated nor named in `insecure`, with what to do about it."""
    for store, setting, problem in (
        ("postgres", "DATABASE_URL", postgres_problem(database_url) if database_url else None),
        ("redis", "REDIS_URL", redis_problem(redis_url) if redis_url else None),
    ):
        if problem is not None and store not in insecure:
            yield f"FASTOCSP_{setting}: {problem}; FASTOCSP_INSECURE_LINKS={store} accepts it, logged at each start"


def is_loopback(host: str) -> bool:
    """Report whether a host is this machine by its address; of names only `localhost` is."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _postgres_addresses(url: str) -> tuple[list[str | tuple[str, int]], Any]:
    """Return sockets and (host, port) pairs, and parameters, as asyncpg reads a URL and libpq's variables."""
    from asyncpg import connect_utils

    parse = getattr(connect_utils, "_parse_connect_dsn_and_args")  # noqa: B009 - private, but what the driver will do
    nothing = dict.fromkeys(inspect.signature(parse).parameters)
    addresses, parameters = parse(**(nothing | {"dsn": url}))
    return list(addresses), parameters


def _is_local_at_a_glance(url: str) -> bool:
    """Recognise the usual local URLs without importing the driver, which takes longer than most commands."""
    try:
        parts = urlsplit(url)
        hosts = parse_qs(parts.query).get("host", [])
        return parts.hostname is None and len(hosts) == 1 and hosts[0].startswith("/") and "," not in hosts[0]
    except ValueError:
        return False
