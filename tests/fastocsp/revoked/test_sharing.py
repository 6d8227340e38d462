"""What processes share without a lock, under stress: the revoked set and the rate limit."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from _fastocsp.revoked.image import RevokedImage, image_size
from _fastocsp.shared.bucket import Bucket
from responder.files import map_file
from tests.fastocsp.revoked import sharing

SECONDS, READERS, CAPACITY = 3.0, 2, 200_000


def test_a_reader_never_sees_half_a_change_and_never_misses_a_shown_one(tmp_path: Path) -> None:
    """One writer, two readers, one file: what the page says is in the image is, and whole (coherence)."""
    image = RevokedImage(map_file(tmp_path / sharing.IMAGE, image_size({}, CAPACITY)), writable=True)
    image.build({}, CAPACITY)
    map_file(tmp_path / sharing.PAGE, 64)
    with ProcessPoolExecutor(READERS + 1, multiprocessing.get_context("spawn")) as pool:
        readers = [pool.submit(sharing.read_while_written, tmp_path) for _ in range(READERS)]
        written = pool.submit(sharing.write, tmp_path, SECONDS, CAPACITY).result(60)
        seen = [reader.result(60) for reader in readers]
    assert written > 1000
    assert image.delta_count == written
    assert all(lookups > 1000 and shown == written for lookups, shown in seen)
    wanted = {
        (issuer_no, serial): (time, reason)
        for _, issuer_no, serial, time, reason in map(sharing.item_of, range(written))
    }
    assert sum(len(rows) // (size + 5) for (_, size), rows in image.compact().items()) == len(wanted)


def test_two_processes_share_one_limit(tmp_path: Path) -> None:
    """Of 4 x 400 requests at one moment exactly the limit is let through, whoever asks."""
    memory = map_file(tmp_path / sharing.LIMITER, Bucket.size(64))
    now_ns = 10**12
    assert Bucket(memory, 100, 1).allow(b"\x0a\0\0\1", now_ns)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        asked = [pool.submit(sharing.take, tmp_path, 100, 400, now_ns) for _ in range(4)]
        assert sum(one.result(60) for one in asked) == 99
