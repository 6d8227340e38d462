"""The row of `make bench-scale` about one revocation through the API: from the request to its CONFIRMED, beside GETs.

One edge that answers 1,000 cached GETs a second from an open loop, one connection to the API. The commit lies within
the request, so what is measured is more than the wait that the goal is about.
"""

import http.client
import json
import os
import shutil
import ssl
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench.beside import compiled
from bench.compare import edge_get, questions, write_messages
from bench.driving import Stream, turn_of
from bench.scale_rows import Row
from tests.support.instance import Instance

GETS_PER_S, REVOKED = 1000.0, 300
P50_GOAL_MS, P99_GOAL_MS = 8.0, 20.0


def confirmations(revoked: int = REVOKED) -> list[Row]:
    """Revoke so many certificates one after the other, each with `?wait=`."""
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-scale-"))
    folder.chmod(0o755)
    instance = Instance(folder / "data", 1, revoked + 100, 1, FASTOCSP_OCSP_RATE_LIMIT_PER_IP_MIN="1000000000").start()
    try:
        asked = questions(instance)
        names = sorted(path.stem for path in Path(instance.facts["certs_dir"]).glob("*.pem"))
        messages = write_messages(folder / "gets", [edge_get(der) for der in asked[revoked:]])
        seconds = revoked * 0.05
        beside = Stream(compiled(folder, "load"), instance.port, messages, 16, rate=GETS_PER_S)
        process = beside.start(seconds)
        os.sched_setaffinity(process.pid, range(os.cpu_count() or 1))
        admin = urlsplit(instance.facts["admin_url"])
        trust = ssl.create_default_context(cafile=instance.facts["admin_ca"])
        line = http.client.HTTPSConnection(admin.hostname or "", admin.port, timeout=60, context=trust)
        times = sorted(_revoke(line, instance.facts["api_key"], name) for name in names[:revoked])
        line.close()
        turn = turn_of(process.communicate()[0], seconds)
    finally:
        instance.stop()
        shutil.rmtree(folder, ignore_errors=True)
    p50, p99 = times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3
    beside_it = f"with {turn.goodput:.0f} GET/s beside it"
    return [
        Row(
            f"revoke to CONFIRMED through the API, {beside_it}, p50",
            f"<= {P50_GOAL_MS:g} ms",
            f"{p50:.1f} ms",
            p50 <= P50_GOAL_MS,
        ),
        Row("the same, p99", f"<= {P99_GOAL_MS:g} ms", f"{p99:.1f} ms", p99 <= P99_GOAL_MS),
    ]


def _revoke(line: http.client.HTTPSConnection, key: str, name: str) -> float:
    """Return the seconds that it took."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    begun = time.perf_counter()
    line.request(
        "POST", f"/api/v1/certificates/demo:{name}/revoke?wait=30", json.dumps({"reason": "superseded"}), headers
    )
    said = json.loads(line.getresponse().read())
    took = time.perf_counter() - begun
    if said.get("result") != "CONFIRMED":
        raise AssertionError(said)
    return took


def measure(small: bool) -> list[Row]:
    """Every row."""
    return confirmations(30 if small else REVOKED)
