"""Addresses that a process is to listen on, checked before anything is started."""

import socket

import structlog

from responder.setting_values import parse_address

log = structlog.get_logger("master")


def check_port(host: str, port: int) -> int:
    """The port, or a free one for 0; OSError when another program has it, which SO_REUSEPORT would hide."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error
        return int(probe.getsockname()[1])


def check_metrics_listen(listen: str) -> str:
    """The address with its port, a free one for 0; empty when another program has it, which is logged."""
    if not listen:
        return listen
    host, port = parse_address(listen)
    try:
        found = check_port(host, port)
    except OSError as error:
        log.error("metrics listener not available", listen=listen, error=str(error))
        return ""
    return f"[{host}]:{found}" if ":" in host else f"{host}:{found}"
