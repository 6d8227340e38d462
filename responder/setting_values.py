"""The texts of settings: durations, sizes, addresses, networks. Each parser leaves a value that is no text as it is."""

import ipaddress
import re

from responder.links import STORES

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|y)?")
_SIZE = re.compile(r"(\d+)\s*(k|m|g)?(?:i?b)?", re.IGNORECASE)
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+):(\d{1,5})")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_duration(value: object) -> object:
    """Seconds from `250ms`, `30s`, `15m`, `24h`, `7d`, `2w`, `10y` (365 days each) or a bare number of seconds."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip().lower())
    if match is None:
        raise ValueError(f"not a duration: {value!r} (write 250ms, 30s, 15m, 24h, 7d or 10y)")
    return float(match[1]) * _UNITS[match[2] or "s"]


def parse_size(value: object) -> object:
    """Bytes from `16KiB`, `1M` or a bare number."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"not a size: {value!r} (write 16384, 16KiB or 1MiB)")
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[(match[2] or "").lower()]


def parse_address(value: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9464` or `[::1]:9464`; ValueError for anything else."""
    match = _ADDRESS.fullmatch(value.strip())
    if match is None or int(match[2]) > 65535:
        raise ValueError(f"not an address with a port: {value!r} (write 127.0.0.1:9464 or [::1]:9464)")
    return match[1].strip("[]"), int(match[2])


def parse_networks(value: object) -> object:
    """Addresses and networks from a comma-separated list."""
    if not isinstance(value, str):
        return value
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())


def parse_stores(value: object) -> object:
    """Names of stores, out of a comma-separated list."""
    if not isinstance(value, str):
        return value
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if unknown := set(names) - set(STORES):
        raise ValueError(f"{', '.join(sorted(unknown))}: write {' or '.join(STORES)}, or both with a comma")
    return names
