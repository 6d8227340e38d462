"""A Redis that is slow, and within its time-out, is waited for: it is no reason to sign everything."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cachewarm.embedded.valkey import EmbeddedValkey
from responder.errors import SourceError
from responder.sources.redis_reader import BatchReader, connect

DELAY_S, TIMEOUT_S = 0.05, 2.0


async def pass_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Every answer DELAY_S later than it came."""
    try:
        while octets := await reader.read(65536):
            await asyncio.sleep(DELAY_S)
            writer.write(octets)
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
async def slow_url(valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[str]:
    """The shared Valkey behind a proxy that delays."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(str(valkey.socket))
        for task in (asyncio.create_task(pass_late(reader, forth)), asyncio.create_task(pass_late(back, writer))):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_unix_server(serve, str(tmp_path / "slow.sock"))
    yield valkey.url("reader").replace(str(valkey.socket), str(tmp_path / "slow.sock"))
    server.close()
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_turns_of_misses_on_a_slow_redis_open_no_breaker(slow_url: str) -> None:
    """Names asked in a hundred turns of the loop, while the first answer is on its way: every one is answered."""
    client = connect(slow_url, TIMEOUT_S)
    reader = BatchReader(client, TIMEOUT_S)
    asked = []
    for number in range(100):
        asked.append(asyncio.create_task(reader.get(b"o:none-%d" % number)))
        await asyncio.sleep(0.001)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    await client.aclose()
    assert answers == [None] * 100


async def test_nobody_waits_for_two_time_outs(slow_url: str) -> None:
    """A server that is too slow: those in a batch and those waiting for room fail together, the next ones at once."""
    client = connect(slow_url, 0.02)
    reader = BatchReader(client, 0.02)
    asked = []
    async with asyncio.timeout(0.5):
        for number in range(30):
            asked.append(asyncio.create_task(reader.get(b"o:none-%d" % number)))
            await asyncio.sleep(0)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(answer) for answer in answers} == {SourceError}
        with pytest.raises(SourceError, match="breaker open"):
            await reader.get(b"o:none")
    await client.aclose()
