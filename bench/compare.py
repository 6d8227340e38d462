"""`make bench`: CPU microseconds of the serving process per answered request: ours, the floor's and peers', in turns.

One edge worker, the floor (`floor.c`: constant bytes), nginx, and lighttpd, haproxy, h2o and cfssl where they are
found, each as fast as it can be set up. Two regimes (`bench/turns.py`); medians over the rounds, of microseconds and of
the ratios within a round. 1000 distinct ECDSA P-256 answers, drawn anew each time, and a million records of others in
the table; the rate limit on (and too high to trip), counters on. Machines are noisy: the ratios are the figures, first
the one over the floor, then the one over the best peer.
"""

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

from bench.beside import Floor, Nginx, compiled
from bench.filling import fill
from bench.machine import stamp
from bench.peers import Cfssl, H2o, Haproxy, Lighttpd, OpensslOCSP, openssl_messages
from bench.turns import REGIMES, Case, Turns, ratio_of, summary, take_turns
from tests.support.ca import make_authority
from tests.support.http import Talk, certificate, get_octets, post_octets, question
from tests.support.instance import Instance, free_port

ANSWERS, RECORDS = 1000, 1_000_000
LIMIT_PER_MIN = 1_000_000_000
RESULTS = Path(__file__).parent / "results.json"
CLOSE = "Connection: close\r\n"
KINDS = [("GET", ""), ("GET, one a connection", CLOSE)]
Stop = Callable[[], None]
#: Of the edge's GET over the floor's, by regime.
GOALS = {"two cores": 1.10, "same core": 1.15}
#: Our figures, and the shape in which floor and peers are compared with them.
OURS = (("edge GET", "GET"), ("edge POST", "GET"), ("edge GET, one a connection", "GET, one a connection"))
#: Peers that serve what was made before, as we do.
SERVERS = ("nginx", "lighttpd", "haproxy", "h2o")


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
    for kind in (Lighttpd, Haproxy, H2o, Cfssl):
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


def measure(folder: Path, rounds: int, seconds: float, wanted: Callable[[str], bool]) -> dict[str, Turns]:
    """Every turn, by regime and case."""
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
        return take_turns([case for case in cases if wanted(case.name)], compiled(folder, "load"), rounds, seconds)
    finally:
        for stop in reversed(stops):
            stop()
        instance.stop()


def best_peer(turns: Turns, shape: str) -> str | None:
    """Return the case of the server that needs the least for that shape of request."""
    costs = {
        name: statistics.median(turn.us for turn in turns[name])
        for name in (f"{server} {shape}" for server in SERVERS)
        if name in turns
    }
    return min(costs, key=costs.__getitem__) if costs else None


def ratios_of(regime: str, turns: Turns) -> list[dict[str, object]]:
    """Return our figures over the floor and over the best peer, where they were measured."""
    found: list[dict[str, object]] = []
    for name, shape in OURS:
        for over in (f"floor {shape}", best_peer(turns, shape)):
            if name in turns and over in turns:
                assert over is not None
                goal = GOALS[regime] if (name, over) == ("edge GET", "floor GET") else None
                found.append({"figure": name, "over": over, "ratio": ratio_of(turns, name, over), "goal": goal})
    return found


def show(regime: str, turns: Turns) -> None:
    """Print the ratios and what they were made of."""
    print(f"\n{regime}\n\n| figure | over | ratio | goal |\n|---|---|---|---|")
    for row in ratios_of(regime, turns):
        print(f"| {row['figure']} | {row['over']} | {row['ratio']:.2f} | {row['goal'] or ''} |")
    print("\n| workload | CPU us per answer | lowest - highest | x floor | p99 us | answers a second |")
    print("|---|---|---|---|---|---|")
    for name, taken in sorted(turns.items()):
        cost = summary(taken)
        floor = "floor GET, one a connection" if "one a connection" in name else "floor GET"
        ratio = f"{ratio_of(turns, name, floor):.2f}" if floor in turns else ""
        spread = f"{cost['lowest']} - {cost['highest']}"
        print(f"| {name} | {cost['us_per_answer']} | {spread} | {ratio} | {cost['p99_us']} | {cost['answers_per_s']} |")


def main() -> None:
    """Measure, print the tables, write results.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one turn")
    parser.add_argument("--only", default="", help="cases whose name matches this expression; nothing is written")
    given = parser.parse_args()
    needed = {"nginx": "nginx-light", "taskset": "util-linux", "chrt": "util-linux", "cc": "gcc"}
    missing = [
        package for name, package in needed.items() if not (shutil.which(name) or Path(f"/usr/sbin/{name}").exists())
    ]
    if missing:
        sys.exit(f"bench: apt-get install {' '.join(sorted(set(missing)))}")
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-bench-"))
    folder.chmod(0o755)
    try:
        turns = measure(folder, given.rounds, given.seconds, lambda name: re.search(given.only, name) is not None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for regime in REGIMES:
        show(regime.name, turns[regime.name])
    if given.only:
        return
    written = {
        regime: {
            "ratios": ratios_of(regime, taken),
            "cases": {name: summary(rounds) for name, rounds in taken.items()},
        }
        for regime, taken in turns.items()
    }
    RESULTS.write_text(json.dumps({**stamp(), "regimes": written}, indent=1) + "\n")


if __name__ == "__main__":
    main()
