"""A CRL of three thousand entries: ranges, gzip and HEAD by curl; rows that were deleted or damaged."""

import asyncio
import gzip
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachewarm.ledger.connect import connected
from tests.support.breakage import eventually
from tests.support.fixtures import scratch
from tests.support.http import Talk, get_octets
from tests.support.instance import Instance
from tests.support.rungs import revoke_strangers

PATH = "/.well-known/pki/crl/demo"


@pytest.fixture(scope="module")
def listed() -> Iterator[Instance]:
    """CRLs are made seldom, so that one stays while it is looked at."""
    folder = scratch()
    running = Instance(folder / "data", 1, 10, 1, FASTOCSP_CRL_DEBOUNCE="200ms", FASTOCSP_LOG_FORMAT="json").start()
    asyncio.run(revoke_strangers(running, 3000))
    eventually(lambda: len(get(running)[2]) > 60_000, 15, "no CRL of three thousand entries")
    yield running
    running.stop()
    shutil.rmtree(folder)


def get(instance: Instance, extra: str = "") -> tuple[int, dict[str, str], bytes]:
    """One answer."""
    with Talk(instance.port) as talk:
        return talk.ask(get_octets(PATH, extra))


def curl(instance: Instance, *words: str) -> bytes:
    """What it writes; an error for anything but success."""
    return subprocess.run(["curl", "-sSf", *words, instance.base + PATH], capture_output=True, check=True).stdout


async def change(instance: Instance, sql: str) -> None:
    """As somebody at psql."""
    async with connected(instance.facts["database_url"]) as connection:
        await connection.execute(sql)


def test_curl_takes_it_in_pieces_and_compressed(listed: Instance, tmp_path: Path) -> None:
    """A download that was cut off goes on; gzip is smaller and the same; HEAD has the length and no body."""
    whole = curl(listed)
    assert curl(listed, "-r", "0-99") == whole[:100]
    assert curl(listed, "-r", "-50") == whole[-50:]
    part = tmp_path / "crl"
    part.write_bytes(whole[:30_000])
    curl(listed, "-C", "-", "-o", str(part))
    assert part.read_bytes() == whole
    assert curl(listed, "--compressed") == whole
    packed = curl(listed, "-H", "Accept-Encoding: gzip")
    assert len(packed) < 0.9 * len(whole)
    assert gzip.decompress(packed) == whole
    head = curl(listed, "-I").lower()
    assert b"content-length: %d\r\n" % len(whole) in head
    assert b"vary: accept-encoding" in head


def test_range_fields(listed: Instance) -> None:
    """206 with Content-Range, 416 behind the end, the whole when If-Range names another one."""
    _, whole, body = get(listed)
    status, fields, part = get(listed, "Range: bytes=10-19\r\n")
    assert (status, part, fields["content-range"]) == (206, body[10:20], f"bytes 10-19/{len(body)}")
    assert fields["etag"] == whole["etag"]
    status, fields, _ = get(listed, f"Range: bytes={len(body)}-\r\n")
    assert (status, fields["content-range"], fields["cache-control"]) == (416, f"bytes */{len(body)}", "no-store")
    for condition, wanted in ((whole["last-modified"], 206), (whole["etag"], 200), ('"other"', 200), ("x", 200)):
        status, _, _ = get(listed, f"Range: bytes=0-9\r\nIf-Range: {condition}\r\n")
        assert status == wanted, condition
    resumed = f"Range: bytes=10-\r\nIf-Range: {whole['last-modified']}\r\n"
    assert get(listed, resumed)[2] == body[10:]
    status, fields, packed = get(listed, resumed + "Accept-Encoding: gzip\r\n")
    assert (status, fields["content-encoding"]) == (200, "gzip"), "two forms of the CRL would be joined"
    assert gzip.decompress(packed) == body
    status, fields, _ = get(listed, f"Range: bytes=0-9\r\nIf-None-Match: {whole['etag']}\r\n")
    assert (status, "content-range" in fields) == (304, False)


@pytest.mark.parametrize("sql", ["delete from crl_cache", "update crl_cache set crl_der = 'rubbish'"])
def test_a_row_that_is_gone_or_damaged_is_made_again(listed: Instance, sql: str) -> None:
    """The edge goes on serving what it has, never the rubbish, until the next one is there."""
    _, before, body = get(listed)
    asyncio.run(change(listed, sql))

    def renewed() -> bool:
        status, fields, now = get(listed)
        assert status == 200
        assert len(now) > len(body) - 100
        return fields["etag"] != before["etag"]

    eventually(renewed, 10, "not made again")


def test_one_flipped_bit_is_found(listed: Instance) -> None:
    """In the signature of a row of the same length and number: no edge serves it, the log says so, another is made."""
    _, before, _ = get(listed)
    end = "octet_length(crl_der) - 1"
    flip = f"update crl_cache set crl_der = set_byte(crl_der, {end}, get_byte(crl_der, {end}) # 1)"
    asyncio.run(change(listed, flip))
    tags = {before["etag"]}

    def renewed() -> bool:
        tags.add(get(listed)[1]["etag"])
        return len(tags) > 1

    eventually(renewed, 10, "not made again")
    curl(listed, "-o", str(listed.folder / "crl"))
    said = subprocess.run(
        [
            "openssl",
            "crl",
            "-inform",
            "DER",
            "-in",
            listed.folder / "crl",
            "-noout",
            "-verify",
            "-CAfile",
            issuer(listed),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "verify OK" in said.stdout + said.stderr


def issuer(instance: Instance) -> str:
    """PEM file of the CA."""
    return str(instance.facts["issuer_cert"])
