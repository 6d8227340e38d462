"""`make bench`: CPU microseconds of the serving process per answered request: ours, nginx's and the floor's, in turns.

One edge worker, one nginx worker and the floor (`floor.c`), each alone on core 0 while `load.c` drives it from core
1; medians over the rounds, of microseconds and of the ratios within a round. 1000 distinct ECDSA P-256 answers, drawn
anew each time, and a million records of others in the table; the rate limit on (and too high to trip), counters on.
Machines are noisy: the ratios are the figures.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.beside import Floor, Nginx, compiled
from bench.filling import fill
from bench.machine import cpu_s, stamp
from bench.peers import Cfssl, Lighttpd, OpensslOCSP, openssl_messages
from tests.support.ca import make_authority
from tests.support.http import Talk, certificate, get_octets, post_octets, question
from tests.support.instance import Instance, free_port

CONNECTIONS, ANSWERS, RECORDS = 16, 1000, 1_000_000
LIMIT_PER_MIN = 1_000_000_000
RESULTS = Path(__file__).parent / "results.json"
CLOSE = "Connection: close\r\n"
KINDS = [("GET", ""), ("GET, one a connection", CLOSE)]
Stop = Callable[[], None]
#: (figure, its yardstick, what it is to stay below)
GOALS = [
    ("edge GET", "nginx GET", 0.55),
    ("edge GET", "floor GET", 1.25),
    ("edge POST", "nginx GET", 0.55),
    ("edge GET, one a connection", "nginx GET, one a connection", 0.95),
]


#: (CPU microseconds per answer, answers a second) of each round, by case
Turns = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Case:
    """Something to drive."""

    name: str
    pids: tuple[int, ...]
    port: int
    messages: str
    closing: bool


def drive(case: Case, load: str, seconds: float) -> tuple[float, float]:
    """(CPU microseconds per answer, answers a second) of one turn."""
    before = sum(map(cpu_s, case.pids))
    words = [str(case.port), case.messages, str(CONNECTIONS), str(seconds), str(int(case.closing))]
    said = subprocess.run(["taskset", "-c", "1", load, *words], capture_output=True, text=True, check=True).stdout
    spent = sum(map(cpu_s, case.pids)) - before
    answered, failed = (int(word) for word in said.split()[:2])
    if failed:
        sys.exit(f"{case.name}: {failed} of {answered} failed")
    return spent * 1e6 / answered, answered / seconds


def write_messages(path: Path, messages: list[bytes]) -> str:
    """In the form that `load` reads."""
    path.write_bytes(b"".join(len(one).to_bytes(4, sys.byteorder) + one for one in messages))
    return str(path)


def questions(instance: Instance) -> list[bytes]:
    """DER of a request about each certificate of the demo CA."""
    issuer = certificate(instance.facts["issuer_cert"])
    paths = sorted(Path(instance.facts["certs_dir"]).glob("*.pem"))
    return [question(certificate(path), issuer) for path in paths][:ANSWERS]


def edge_get(der: bytes, extra: str = "") -> bytes:
    """The GET of RFC 6960 A.1."""
    return get_octets(f"/.well-known/pki/ocsp/demo/{quote(b64encode(der).decode(), safe='')}", extra)


def cases_of(folder: Path, instance: Instance, nginx: Nginx, floor: Floor, asked: list[bytes]) -> list[Case]:
    """Ours, nginx's, the floor's."""
    files = range(len(asked))
    edge = (instance.facts["pids"]["edge"][0],)
    posts = [post_octets(der, "/.well-known/pki/ocsp/demo") for der in asked]
    made = [case_of(folder, "edge POST", edge, instance.port, posts)]
    for what, extra in KINDS:
        gets = [edge_get(der, extra) for der in asked]
        made += [
            case_of(folder, f"nginx {what}", (nginx.worker,), nginx.port, file_gets(files, extra)),
            case_of(folder, f"edge {what}", edge, instance.port, gets),
            case_of(folder, f"floor {what}", (floor.worker,), floor.port, gets),
        ]
    return made


def file_gets(files: Iterable[int], extra: str) -> list[bytes]:
    """Of what a server has as files."""
    return [get_octets(f"/{number}.ors", extra) for number in files]


def case_of(folder: Path, name: str, pids: Iterable[int], port: int, messages: list[bytes]) -> Case:
    """With its messages in a file."""
    written = write_messages(folder / f"{name}.messages", messages)
    return Case(name, tuple(pids), port, written, CLOSE.encode() in messages[0])


def cases_of_peers(folder: Path, asked: list[bytes], bodies: list[bytes], stops: list[Stop]) -> list[Case]:
    """Of each peer that is on PATH."""
    made: list[Case] = []
    for kind in (Lighttpd, Cfssl):
        if not shutil.which(kind.program):
            continue
        peer = kind(folder / kind.program, free_port(), bodies)
        stops.append(peer.stop)
        for what, extra in KINDS:
            close, name = bool(extra), f"{kind.program} {what}"
            messages = file_gets(range(len(asked)), extra)
            if kind is Cfssl:  # by POST: it undoes percent-encoding twice, and refuses a GET with a plus sign
                name, messages = name.replace("GET", "POST"), [post_octets(der, "/", close=close) for der in asked]
            made.append(case_of(folder, name, peer.pids, peer.port, messages))
    authority = make_authority()
    signing = OpensslOCSP(folder / "openssl", free_port(), authority, 0)
    stops.append(signing.stop)
    messages = openssl_messages(authority)
    return [*made, case_of(folder, "openssl ocsp, one a connection", signing.pids, signing.port, messages)]


def message_of(port: int, octets: bytes) -> tuple[bytes, int]:
    """(the whole HTTP message, its number of fields)."""
    with Talk(port) as talk:
        talk.socket.sendall(octets)
        message = b""
        while b"\r\n\r\n" not in message:
            message += talk.socket.recv(65536)
        head, _, body = message.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        while len(body) < length:
            body += talk.socket.recv(65536)
    return head + b"\r\n\r\n" + body, head.count(b"\r\n")


def measure(folder: Path, rounds: int, seconds: float, nice: int, wanted: Callable[[str], bool]) -> Turns:
    """Every turn, by case."""
    settings = {"FASTOCSP_OCSP_RATE_LIMIT_PER_IP_MIN": str(LIMIT_PER_MIN), "FASTOCSP_OCSP_RESPONSE_VALIDITY": "24h"}
    stops: list[Stop] = []
    instance = Instance(folder / "data", 1, ANSWERS, 10, **settings).start()
    try:
        asked = questions(instance)
        print(f"{fill(instance.facts['pids']['edge'][0], RECORDS)} records in the table", file=sys.stderr)
        messages = [message_of(instance.port, edge_get(der)) for der in asked]
        bodies = [message.partition(b"\r\n\r\n")[2] for message, _ in messages]
        nginx, floor = Nginx(folder / "nginx", free_port(), bodies), None
        stops.append(nginx.stop)
        last = message_of(instance.port, edge_get(asked[0], CLOSE))[0]
        floor = Floor(folder / "floor", free_port(), messages[0][0], last)
        stops.append(floor.stop)
        counts = messages[0][1], message_of(nginx.port, get_octets("/0.ors"))[1]
        if counts[0] != counts[1] or len(set(bodies)) != ANSWERS:
            sys.exit(f"not the same work: {counts} fields, {len(set(bodies))} bodies")
        cases = cases_of(folder, instance, nginx, floor, asked) + cases_of_peers(folder, asked, bodies, stops)
        cases = [case for case in cases if wanted(case.name)]
        turns = take_turns(cases, compiled(folder, "load"), rounds, seconds, nice)
    finally:
        for stop in reversed(stops):
            stop()
        instance.stop()
    return turns


def prefer(pid: int, nice: int) -> None:
    """Before the other work of the machine; sessions are scheduled as groups where the kernel groups them."""
    if nice:
        threads = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
        first = min(os.getpriority(os.PRIO_PROCESS, thread) for thread in threads)
        for thread in threads:
            os.setpriority(os.PRIO_PROCESS, thread, nice + os.getpriority(os.PRIO_PROCESS, thread) - first)
        with contextlib.suppress(FileNotFoundError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def take_turns(cases: list[Case], load: str, rounds: int, seconds: float, nice: int) -> Turns:
    """Every case once a round, so that what disturbs one disturbs its neighbours."""
    for pid in {pid for case in cases for pid in case.pids}:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {0})
        prefer(pid, nice)
    prefer(os.getpid(), nice)
    turns: Turns = {case.name: [] for case in cases}
    for number in range(rounds):
        for case in cases:
            turns[case.name].append(drive(case, load, seconds))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return turns


def summary(rounds: list[tuple[float, float]]) -> dict[str, float]:
    """Median, spread and rate."""
    costs = sorted(cost for cost, _ in rounds)
    return {
        "us_per_answer": round(statistics.median(costs), 2),
        "lowest": round(costs[0], 2),
        "highest": round(costs[-1], 2),
        "answers_per_s": round(statistics.median(rate for _, rate in rounds)),
    }


def ratio_of(turns: Turns, name: str, over: str) -> float:
    """The median of the rounds' ratios: neighbours share what the machine did to them."""
    pairs = zip(turns[name], turns[over], strict=True)
    return round(statistics.median(mine[0] / theirs[0] for mine, theirs in pairs), 2)


def report(turns: Turns) -> list[dict[str, object]]:
    """Print both tables; the ratios."""
    print("| workload | CPU us per answer | lowest - highest | x nginx | answers a second |\n|---|---|---|---|---|")
    for name, rounds in sorted(turns.items()):
        row = summary(rounds)
        over = "nginx GET, one a connection" if "one a connection" in name else "nginx GET"
        ratio = ratio_of(turns, name, over if over in turns else name)
        spread = f"{row['lowest']} - {row['highest']}"
        print(f"| {name} | {row['us_per_answer']} | {spread} | {ratio:.2f} | {row['answers_per_s']} |")
    print("\n| figure | over | ratio | goal |\n|---|---|---|---|")
    ratios: list[dict[str, object]] = []
    for name, over, goal in GOALS:
        if name in turns and over in turns:
            ratio = ratio_of(turns, name, over)
            ratios.append({"figure": name, "over": over, "ratio": ratio, "goal": goal})
            print(f"| {name} | {over} | {ratio} | {goal} |")
    return ratios


def main() -> None:
    """Measure, print the tables, write results.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one turn")
    parser.add_argument(
        "--nice", type=int, default=0, help="of all that is measured, on a machine that does other work"
    )
    parser.add_argument("--only", default="", help="cases whose name matches this expression; nothing is written")
    given = parser.parse_args()
    missing = [
        name for name in ("nginx", "taskset", "cc") if not (shutil.which(name) or Path(f"/usr/sbin/{name}").exists())
    ]
    if missing:
        sys.exit(f"bench: needs {' '.join(missing)}: apt-get install nginx-light util-linux gcc")
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-bench-"))
    folder.chmod(0o755)
    try:
        turns = measure(
            folder, given.rounds, given.seconds, given.nice, lambda name: re.search(given.only, name) is not None
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratios = report(turns)
    if given.only:
        return
    written = {
        **stamp(),
        "cases": {name: summary(turn) for name, turn in turns.items()},
        "ratios": ratios,
    }
    RESULTS.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
