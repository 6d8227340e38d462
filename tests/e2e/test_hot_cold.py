"""Three lanes, one answer: hot (table), slow (a miss, or what the hot lane leaves), cold (uvicorn and Starlette).

Nothing is forced by a switch: one worker that nobody has asked yet has an empty table, so the first question about a
certificate is slow and the second hot; a field that the recogniser passes on makes it cold. The worker's own counters
prove which lane it was.
"""

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from tests.e2e.wanted import Said, parse_imf
from tests.support import odd_requests as odd
from tests.support.fixtures import scratch
from tests.support.http import Talk, certificate, chunked_octets, get_octets, post_octets, question
from tests.support.instance import Instance

COLD = "Expect: nothing\r\n"  # another parser's business, and ignored by it
DIGESTS = [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]


@pytest.fixture(scope="module")
def single() -> Iterator[Instance]:
    """One worker of our own, asked by nobody else."""
    folder = scratch()
    running = Instance(folder / "data", workers=1).start()
    yield running
    running.stop()
    shutil.rmtree(folder)


def counted(instance: Instance) -> dict[str, int]:
    """The worker's counters."""
    text = instance.metrics()
    found = re.findall(r'^fastocsp_(\w+?)_total(?:\{outcome="(\w+)"\})? ([\d.e+]+)$', text, re.MULTILINE)
    return {outcome or name: int(float(value)) for name, outcome, value in found}


def lane_of(instance: Instance, ask: Callable[[], Said]) -> tuple[str, Said]:
    """Which lane answered, and what it said."""
    before = counted(instance)
    said = ask()
    after = counted(instance)
    cold = after["handed_over"] - before["handed_over"] == 1
    outcome = [name for name in ("hit", "miss", "not_modified") if after[name] != before[name]]
    if cold:
        return "cold", said
    return {"hit": "hot", "not_modified": "hot", "miss": "slow"}.get("".join(outcome), "slow"), said


OCSP_MAX_AGE = 3600


def comparable(said: Said) -> Said:
    """Return it without what moves with the clock: Date, and a max-age below its limit, which is added to Date."""
    status, fields, body = said
    fields = dict(fields)
    date = parse_imf(fields.pop("date"))
    if "max-age=" in fields["cache-control"]:
        max_age, rest = fields["cache-control"].removeprefix("max-age=").split(",", 1)
        if int(max_age) < OCSP_MAX_AGE:
            fields["cache-control"] = f"{date + int(max_age)},{rest}"
    return status, fields, body


def asked_in(instance: Instance, octets: bytes) -> tuple[str, Said]:
    """One question on a connection of its own."""
    with Talk(instance.port) as talk:
        return lane_of(instance, lambda: talk.ask(octets))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.name)
def test_a_status_is_the_same_in_every_lane(single: Instance, number: int, digest: hashes.HashAlgorithm) -> None:
    """Slow, hot, hot by GET, cold by GET, cold by chunks: body byte for byte, fields but for the clock."""
    facts = single.facts
    others = {str(path) for path in Path(facts["certs_dir"]).glob("*.pem")} - {facts["revoked_cert"]}
    paths = [facts["revoked_cert"], *sorted(others)]
    der = question(certificate(paths[number]), certificate(facts["issuer_cert"]), digest)
    path = "/ocsp/" + base64.b64encode(der).decode()
    first, said = asked_in(single, post_octets(der))
    assert first == "slow"
    wanted = comparable(said)
    for lane, octets in [
        ("hot", post_octets(der)),
        ("hot", post_octets(der, "/.well-known/pki/ocsp/demo")),
        ("hot", get_octets(path)),
        ("cold", get_octets(path, COLD)),
        ("cold", post_octets(der, extra=COLD)),
        ("cold", chunked_octets(der)),
        ("cold", chunked_octets(der, "/.well-known/pki/ocsp/demo")),
    ]:
        got, said = asked_in(single, octets)
        assert got == lane
        assert comparable(said) == wanted, octets


def test_a_304_is_the_same_in_both_lanes(single: Instance) -> None:
    """With every condition that holds."""
    facts = single.facts
    path = (
        "/ocsp/"
        + base64.b64encode(question(certificate(facts["good_cert"]), certificate(facts["issuer_cert"]))).decode()
    )
    for _ in range(2):
        _, (_, whole, _) = asked_in(single, get_octets(path))
    for condition in (
        f"If-None-Match: {whole['etag']}\r\n",
        "If-None-Match: *\r\n",
        f"If-Modified-Since: {whole['last-modified']}\r\n",
    ):
        hot, one = asked_in(single, get_octets(path, condition))
        cold, other = asked_in(single, get_octets(path, condition + COLD))
        assert (hot, cold) == ("hot", "cold")
        assert one[0] == 304
        assert comparable(one) == comparable(other)


def refusals(instance: Instance) -> list[bytes]:
    """Questions that no lane answers with a status."""
    facts = instance.facts
    issuer, good = certificate(facts["issuer_cert"]), certificate(facts["good_cert"])
    asked = odd.cert_id(issuer, good.serial_number)
    critical = odd.extension(odd.HARMLESS, b"x", critical=True)
    return [
        b"bad",
        question(good, issuer) + b"\0",
        odd.request(asked, extensions=[odd.nonce(b"")]),
        odd.request(asked, extensions=[odd.nonce(b"n" * 33)]),
        odd.request(asked, extensions=[critical]),
        odd.request(odd.cert_id(good, good.serial_number)),
        odd.request(odd.cert_id(issuer, 12345)),
        odd.request(odd.cert_id(issuer, b"\x80")),
        odd.request(asked, odd.cert_id(issuer, 12345)),
    ]


def test_a_refusal_is_the_same_in_both_lanes(single: Instance) -> None:
    """By POST and by GET."""
    for der in refusals(single):
        path = "/ocsp/" + base64.b64encode(der).decode()
        pairs = [(post_octets(der), chunked_octets(der)), (post_octets(der), post_octets(der, extra=COLD))]
        for one, other in [*pairs, (get_octets(path), get_octets(path, COLD))]:
            (slow, wanted), (cold, said) = asked_in(single, one), asked_in(single, other)
            assert (slow, cold) == ("slow", "cold")
            assert comparable(said) == comparable(wanted)


def test_fresh_signatures_have_the_same_fields(single: Instance) -> None:
    """A nonce, several CertIDs: signed anew each time, so only status, length and fields can be compared."""
    facts = single.facts
    issuer = certificate(facts["issuer_cert"])
    ids = [odd.cert_id(issuer, certificate(facts[name]).serial_number) for name in ("good_cert", "revoked_cert")]
    for der in (odd.request(ids[0], extensions=[odd.nonce(b"n" * 16)]), odd.request(*ids)):
        (_, one), (cold, other) = asked_in(single, post_octets(der)), asked_in(single, chunked_octets(der))
        assert cold == "cold"
        for said in (one, other):
            assert int(said[1].pop("content-length")) == len(said[2])
        assert comparable(one)[:2] == comparable(other)[:2]


def test_metrics_are_on_a_listener_of_their_own(single: Instance) -> None:
    """Not on the public port, whoever forwards what; on the other nothing else is served, and only to METRICS_ALLOW."""
    with Talk(single.port) as talk:
        assert talk.ask(get_octets("/metrics"))[0] == 404
        assert talk.ask(get_octets("/metrics", "X-Forwarded-For: 127.0.0.1\r\n"))[0] == 404
    assert "fastocsp_answers_total" in single.metrics()
    port = int(single.metrics_url.split(":")[2].split("/")[0])
    with Talk(port) as talk:
        assert [talk.ask(get_octets(path))[0] for path in ("/metrics", "/health", "/ocsp/MA")] == [200, 404, 404]
