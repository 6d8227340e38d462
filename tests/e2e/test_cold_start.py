"""A new edge host fills its table from Redis beside its first requests, with the login that edges have."""

from pathlib import Path

from tests.support.breakage import GOOD, REVOKED, ask, certificates, eventually, metrics
from tests.support.edge_host import EdgeHost
from tests.support.instance import Instance


def test_a_cold_host_answers_from_its_table_before_it_was_asked(instance: Instance, own_folder: Path) -> None:
    """Every record of Redis is in the table, the log says so once, and the first question about each is a hit."""
    paths = certificates(instance)
    host = EdgeHost(instance, own_folder / "cold", "cold", FASTOCSP_WARM_UP_CORE="1", FASTOCSP_WORKERS="1")
    try:
        host.start()
        log = own_folder / "cold" / "logs" / "edge.log"
        eventually(lambda: '"event": "warmed up"' in log.read_text(), 30, "no warm-up")
        eventually(lambda: metrics(host)["table_entries"] >= 2 * len(paths), 10, str(metrics(host)))
        before = metrics(host)
        assert {ask(host, path).says for path in paths[:20]} <= {GOOD, REVOKED}
        after = metrics(host)
        assert after["answers:hit"] - before["answers:hit"] == 20
        assert after["redis_found"] == before["redis_found"]
        assert after["signed_live"] == before["signed_live"]
        assert log.read_text().count('"event": "warmed up"') == 1
    finally:
        host.leave()
