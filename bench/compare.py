"""`make bench`: CPU microseconds of the serving process per answered request, ours and nginx's, interleaved in one run.

One edge worker and one nginx worker, each alone on core 0 while wrk drives it from core 1, in turns; medians over the
turns. Machines are noisy, so the ratio is the figure, not the microseconds.
"""

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.nginx import Nginx
from tests.e2e.asking import Talk, certificate, post_octets, question
from tests.e2e.instance import Instance, free_port

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
CONNECTIONS = 16
RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Case:
    """Something to drive."""

    name: str
    pid: int
    url: str
    script: str | None = None


def cpu_s(pid: int) -> float:
    """User and system seconds of that process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drive(case: Case) -> tuple[float, float]:
    """(CPU microseconds per answer, answers a second) of one turn."""
    script = ["-s", case.script] if case.script else []
    before = cpu_s(case.pid)
    said = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}", *script, case.url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    spent = cpu_s(case.pid) - before
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"{case.name}: {said}")
    answered = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    return spent * 1e6 / answered, answered / SECONDS


def post_script(folder: Path, body: bytes) -> str:
    """Wrk's way to send a POST."""
    octets = "".join(f"\\{octet}" for octet in body)
    path = folder / "post.lua"
    path.write_text(
        f'wrk.method = "POST"\nwrk.body = "{octets}"\nwrk.headers["Content-Type"] = "application/ocsp-request"\n'
    )
    return str(path)


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Medians by case."""
    instance = Instance(folder / "data", workers=1, certificates=20, revoked=2).start()
    facts = instance.facts
    der = question(certificate(facts["good_cert"]), certificate(facts["issuer_cert"]))
    with Talk(instance.port) as talk:
        body = talk.ask(post_octets(der))[2]
    nginx = Nginx(folder / "nginx", free_port(), body)
    worker = facts["pids"]["edge"][0]
    cases = [
        Case("edge GET", worker, f"{instance.ocsp_url}/{quote(b64encode(der).decode(), safe='')}"),
        Case("edge POST", worker, instance.ocsp_url, post_script(folder, der)),
        Case("nginx GET, static file", nginx.worker, nginx.url),
    ]
    try:
        for pid in (worker, nginx.worker):
            os.sched_setaffinity(pid, {0})
        turns: dict[str, list[tuple[float, float]]] = {case.name: [] for case in cases}
        for number in range(ROUNDS):
            for case in cases:
                turns[case.name].append(drive(case))
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
    finally:
        nginx.stop()
        instance.stop()
    return {name: summary(rounds) for name, rounds in turns.items()} | {"body": {"octets": len(body)}}


def summary(rounds: list[tuple[float, float]]) -> dict[str, float]:
    """Median, spread and rate."""
    costs = sorted(cost for cost, _ in rounds)
    return {
        "us_per_answer": round(statistics.median(costs), 2),
        "lowest": round(costs[0], 2),
        "highest": round(costs[-1], 2),
        "answers_per_s": round(statistics.median(rate for _, rate in rounds)),
    }


def main() -> None:
    """Measure, print the table, write results.json."""
    missing = [
        name for name in ("wrk", "nginx", "taskset") if not (shutil.which(name) or Path(f"/usr/sbin/{name}").exists())
    ]
    if missing:
        sys.exit(f"bench: needs {' '.join(missing)}: apt-get install wrk nginx-light util-linux")
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-bench-"))
    folder.chmod(0o755)
    try:
        found = measure(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yardstick = found["nginx GET, static file"]["us_per_answer"]
    print("| workload | CPU us per answer | lowest - highest | x nginx |")
    print("|---|---|---|---|")
    for name, row in found.items():
        if "us_per_answer" in row:
            ratio = row["us_per_answer"] / yardstick
            print(f"| {name} | {row['us_per_answer']} | {row['lowest']} - {row['highest']} | {ratio:.2f} |")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    RESULTS.write_text(json.dumps({"commit": commit.strip(), "machine": machine, "cases": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
