"""Garbage in, an answer out: mutated requests over keep-alive connections, to workers that must not notice.

A mutation of the whole message may break its framing, so what is mutated is the OCSPRequest inside a right message
and the path of a GET; every message then has one answer, and the connection stays in step.
"""

import json
import random
import re
import time
from collections.abc import Iterable, Iterator

import psutil
import pytest

from tests.e2e.wanted import MALFORMED, UNAUTHORIZED, Demo, demo_of
from tests.support.breakage import is_within
from tests.support.http import Talk, get_octets, post_octets
from tests.support.instance import Instance

VALUES = (0x00, 0x01, 0x30, 0x7F, 0x80, 0xFF)
BATCH, MUTATIONS, GROWTH_OCTETS = 50, 20_000, 20 << 20
SUCCESS = re.compile(rb"\x30\x82..\x0a\x01\x00", re.DOTALL)
#: What may stand in a request target, so that the message stays one (RFC 3986 3.3).
PATH_OCTETS = bytes(octet for octet in range(0x21, 0x7F) if octet not in b"?#")


@pytest.fixture(scope="module")
def demo(instance: Instance) -> Demo:
    """The shared instance's."""
    return demo_of(instance)


@pytest.fixture(scope="module", autouse=True)
def workers_do_not_notice(instance: Instance, demo: Demo) -> Iterator[None]:
    """The same processes before and after, 20 MB larger at most."""
    warm = post_octets(demo.good)
    for _ in range(20):
        with Talk(instance.port) as talk:
            for _ in range(100):
                talk.ask(warm)
    before = {pid: psutil.Process(pid).memory_info().rss for pid in workers(instance)}
    yield
    assert workers(instance) == list(before)
    for pid, rss in before.items():
        assert psutil.Process(pid).memory_info().rss - rss < GROWTH_OCTETS


def workers(instance: Instance) -> list[int]:
    """Process numbers of the workers, from the master's own file."""
    listed: list[int] = json.loads((instance.folder / "run" / "edge.json").read_text())["workers"]
    return listed


def assert_answered(instance: Instance, messages: Iterable[bytes]) -> int:
    """Every one gets an answer that compat.md knows, in step, within two seconds; their number."""
    count = 0
    iterator = iter(messages)
    while batch := [message for _, message in zip(range(BATCH), iterator, strict=False)]:
        with Talk(instance.port, timeout_s=2.0) as talk:
            talk.socket.sendall(b"".join(batch))
            for message in batch:
                begun = time.monotonic()
                status, fields, body = talk.read()
                assert is_within(begun, 2)
                known = (status, body) in ((400, MALFORMED), (200, UNAUTHORIZED)) or (
                    status == 200 and SUCCESS.match(body)
                )
                assert known, (message, status, fields, body)
                assert fields["content-type"] == "application/ocsp-response"
        count += len(batch)
    return count


def changes(octets: bytes, values: Iterable[int], positions: Iterable[int] | None = None) -> Iterator[bytes]:
    """Each position set to each value."""
    for at in range(len(octets)) if positions is None else positions:
        for value in values:
            yield octets[:at] + bytes((value,)) + octets[at + 1 :]


def get(path: bytes) -> bytes:
    """A GET of a path of bytes."""
    return get_octets("/ocsp/" + path.decode("latin-1"))


def test_every_prefix_of_a_body(instance: Instance, demo: Demo) -> None:
    """Each in a message of its own length; the empty one too."""
    assert assert_answered(instance, (post_octets(demo.good[:n]) for n in range(len(demo.good)))) == len(demo.good)


def test_every_changed_octet_of_a_body(instance: Instance, demo: Demo) -> None:
    """Six values at each position, all 255 at some."""
    assert_answered(instance, map(post_octets, changes(demo.good, VALUES)))
    assert_answered(instance, map(post_octets, changes(demo.good, range(256), range(0, len(demo.good), 9))))


def test_every_prefix_of_a_path(instance: Instance, demo: Demo) -> None:
    """Cut base64 is malformed, or a request when only padding is missing."""
    path = demo.path.removeprefix("/ocsp/").encode()
    assert_answered(instance, (get(path[:n]) for n in range(1, len(path))))


def test_every_changed_octet_of_a_path(instance: Instance, demo: Demo) -> None:
    """Eight characters at each position, every legal one at some."""
    path = demo.path.removeprefix("/ocsp/").encode()
    assert_answered(instance, map(get, changes(path, b"/%=A+-~.")))
    assert_answered(instance, map(get, changes(path, PATH_OCTETS, range(0, len(path), 9))))


def test_octets_that_no_path_has(instance: Instance, demo: Demo) -> None:
    """Control bytes, space, 0x80 and above: each connection is answered 400 or closed, within two seconds."""
    path = demo.path.encode()
    for value in [*range(0x21), *range(0x7F, 0x100)]:
        octets = b"GET " + path[:40] + bytes((value,)) + path[41:] + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        with Talk(instance.port, timeout_s=2.0) as talk:
            assert talk.ask(octets)[0] == 400, value


def mutated(draw: random.Random, octets: bytes, alphabet: bytes) -> bytes:
    """One to four of: change, cut out, put in, double, swap halves, cut off."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(octets) + 1)
        span = draw.randint(1, 8)
        some = bytes(draw.choices(alphabet, k=span))
        octets = draw.choice(
            (
                octets[:at] + some + octets[at + span :],
                octets[:at] + octets[at + span :],
                octets[:at] + some + octets[at:],
                octets[:at] + octets[at : at + span] * 2 + octets[at + span :],
                octets[at:] + octets[:at],
                octets[:at],
            )
        )
    return octets[:8000]


def test_twenty_thousand_random_mutations(instance: Instance, demo: Demo) -> None:
    """Of bodies and of paths, always the same ones; every tenth through the cold lane."""
    draw = random.Random(20)
    path = demo.path.removeprefix("/ocsp/").encode()

    def messages() -> Iterator[bytes]:
        for n in range(MUTATIONS):
            extra = "Expect: nothing\r\n" if n % 500 >= 450 else ""
            if n % 2:
                yield post_octets(mutated(draw, demo.good, bytes(range(256))), extra=extra)
            else:
                text = (mutated(draw, path, PATH_OCTETS) or b"A").decode()
                yield get_octets("/ocsp/" + text, extra)

    assert assert_answered(instance, messages()) == MUTATIONS
