"""Confine a worker once its sockets are bound and its memory is mapped: it needs nearly nothing then.

It parses what strangers send. It reads the run folder and the edge's state, loads code, connects to Redis, and binds
the metrics listener. Sockets in the file system stay within reach, which Landlock does not restrict: the signer's
and the ledger's ask who connects.
"""

from responder.config import EdgeSettings
from responder.landlock import Allowed
from responder.links import redis_ports
from responder.sandbox import Sandbox, confine, files_of, with_dns
from responder.setting_values import parse_address


def confine_worker(settings: EdgeSettings) -> Sandbox:
    """Confine this process, before it starts threads; it ends when the kernel cannot and it must."""
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else "redis://127.0.0.1:6379"
    metrics = [parse_address(settings.metrics_listen)[1]] if settings.metrics_listen else []
    allowed = Allowed(
        reads=[settings.run, settings.data_dir / "edge", *files_of(redis_url)],
        connects=with_dns(redis_ports(redis_url)),
        binds=metrics,
    )
    return confine(settings.sandbox, allowed)
