"""`make bench-signing`: what an answer signed for its asker costs: a nonce through edge and signer, and `openssl ocsp`.

CPU microseconds of every process that works for the answer, children included, beside one P-256 signature and the floor
(`floor.c`). `openssl ocsp` signs each answer anew and closes each connection; it reads its index once. All of them on
core 0, `load.c` on core 1, in turns; medians.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.beside import Floor, compiled
from bench.compare import CLOSE, edge_get, message_of, questions, write_messages
from bench.driving import Stream, turn_of
from bench.machine import cpu_s, pin, stamp
from bench.peers import ANSWERS, OpensslOCSP, openssl_messages
from tests.support.ca import make_authority
from tests.support.http import certificate, post_octets, question
from tests.support.instance import Instance, free_port

RESULTS = Path(__file__).parent / "signing.json"


def signature_us(seconds: float) -> float:
    """CPU microseconds of one P-256 signature, as the signer makes it."""
    key, count, begun = ec.generate_private_key(ec.SECP256R1()), 0, time.process_time()
    while time.process_time() - begun < seconds:
        key.sign(b"x" * 200, ec.ECDSA(hashes.SHA256()))
        count += 1
    return (time.process_time() - begun) * 1e6 / count


def turn(stream: Stream, pids: Callable[[], list[int]], seconds: float) -> dict[str, float]:
    """CPU per answer and rate."""
    before = sum(map(cpu_s, pids()))
    said = turn_of(stream.start(seconds).communicate()[0], seconds)
    if said.failed or said.later:
        print(f"{stream.messages}: {said}")
    rate = said.goodput
    return {"us": (sum(map(cpu_s, pids())) - before) * 1e6 / (rate * seconds), "rate": rate, "p99_us": said.p99_us}


def measure(folder: Path, rounds: int, seconds: float) -> dict[str, object]:
    """Every case once a round."""
    settings = {"FASTOCSP_OCSP_RATE_LIMIT_PER_IP_MIN": "1000000000", "FASTOCSP_OCSP_RESPONSE_VALIDITY": "24h"}
    instance = Instance(folder / "data", 1, ANSWERS, 10, **settings).start()
    stops: list[Callable[[], None]] = [instance.stop]
    try:
        load, authority = compiled(folder, "load"), make_authority()
        peers = {
            f"openssl ocsp{f' -multi {n}' if n else ''}": OpensslOCSP(folder / f"{n}", free_port(), authority, n)
            for n in (0, 2)
        }
        stops += [peer.stop for peer in peers.values()]
        asked = questions(instance)
        whole = [message_of(instance.port, edge_get(asked[0], extra))[0] for extra in ("", CLOSE)]
        floor = Floor(folder / "floor", free_port(), *whole)
        stops.append(floor.stop)
        issuer, good = certificate(instance.facts["issuer_cert"]), certificate(instance.facts["good_cert"])
        nonces = [question(good, issuer, nonce=os.urandom(32)) for _ in range(ANSWERS)]
        posts = {
            close: write_messages(
                folder / f"nonces-{close}",
                [post_octets(der, "/.well-known/pki/ocsp/demo", close=close) for der in nonces],
            )
            for close in (False, True)
        }
        theirs = write_messages(folder / "openssl", openssl_messages(authority))
        ours = [instance.facts["pids"]["edge"][0], instance.facts["pids"]["signer"]]
        cases: dict[str, tuple[Stream, Callable[[], list[int]]]] = {
            "edge + signer, nonce": (Stream(load, instance.port, posts[False], 64), lambda: ours),
            "edge + signer, nonce, one a connection": (
                Stream(load, instance.port, posts[True], 16, closing=True),
                lambda: ours,
            ),
            "floor": (Stream(load, floor.port, posts[False], 64), lambda: [floor.worker]),
            "floor, one a connection": (
                Stream(load, floor.port, posts[True], 16, closing=True),
                lambda: [floor.worker],
            ),
        }
        for name, peer in peers.items():
            cases[f"{name}, one a connection"] = (
                Stream(load, peer.port, theirs, 8, closing=True),
                lambda peer=peer: peer.pids,  # type: ignore[misc]
            )
        for _, pids in cases.values():
            for pid in pids():
                pin(pid, 0)
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
        signatures = []
        for _ in range(rounds):
            signatures.append(signature_us(seconds / 2))
            for name, (stream, pids) in cases.items():
                turns[name].append(turn(stream, pids, seconds))
        return summary(turns, signatures)
    finally:
        for stop in reversed(stops):
            stop()


def summary(turns: dict[str, list[dict[str, float]]], signatures: list[float]) -> dict[str, object]:
    """Medians, and the ratio over what cannot be saved: one signature and the floor."""
    cases = {
        name: {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
        for name, rows in turns.items()
    }
    ratios = {}
    for name, rows in turns.items():
        floors = turns["floor, one a connection" if "one a connection" in name else "floor"]
        if not name.startswith("floor"):
            pairs = zip(rows, floors, signatures, strict=True)
            ratios[name] = round(statistics.median(row["us"] / (floor["us"] + sign) for row, floor, sign in pairs), 2)
    return {"signature_us": round(statistics.median(signatures), 2), "cases": cases, "over signature and floor": ratios}


def main() -> None:
    """Measure, print, write signing.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one turn")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-signing-"))
    folder.chmod(0o755)
    try:
        figures = measure(folder, given.rounds, given.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    RESULTS.write_text(json.dumps({**stamp(), **figures}, indent=1) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
