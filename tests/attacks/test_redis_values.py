"""Values in Redis are not believed, and cost no more memory than a record."""

import asyncio
from pathlib import Path

import redis
from structlog.testing import capture_logs

from _fastocsp.ocsp.record import MAX_RECORD
from cachewarm.embedded.valkey import EmbeddedValkey
from responder.sources.redis_reader import BatchReader, connect


async def test_value_is_cut_behind_the_size_of_a_record(valkey: EmbeddedValkey) -> None:
    """Thirty MiB beside a record, an empty value, a value of another type and none."""
    with redis.Redis.from_url(valkey.url("writer")) as writer:
        writer.set(b"o:large", bytes(30 << 20))
        writer.set(b"o:record", b"r" * MAX_RECORD)
        writer.set(b"o:empty", b"")
        writer.rpush(b"o:list", b"x")
    client = connect(valkey.url("reader"), 5.0)
    reader = BatchReader(client, 5.0)
    names = [b"o:large", b"o:record", b"o:empty", b"o:list", b"o:none"]
    with capture_logs() as lines:
        values = await asyncio.gather(*map(reader.get, names))
    await client.aclose()
    assert [None if value is None else len(value) for value in values] == [MAX_RECORD + 1, MAX_RECORD, None, None, None]
    assert lines == []


async def refuse_scripts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server whose access list allows MGET and no script; each command is one array of bulk strings."""
    while head := await reader.readline():
        words = []
        for _ in range(int(head[1:])):
            length = int((await reader.readline())[1:])
            words.append((await reader.readexactly(length + 2))[:-2])
        count = len(words) - 1
        answers = {b"MGET": b"*%d\r\n" % count + b"$1\r\nv\r\n" * count, b"EVAL_RO": b"-NOPERM no\r\n"}
        writer.write(answers.get(words[0], b"-ERR unknown command\r\n"))
    writer.close()


async def test_login_that_may_run_no_script_reads_as_before_and_is_logged_once(tmp_path: Path) -> None:
    """An access list of an operator's own, made before."""
    server = await asyncio.start_unix_server(refuse_scripts, str(tmp_path / "redis.sock"))
    client = connect(f"unix://{tmp_path}/redis.sock?protocol=2", 5.0)
    reader = BatchReader(client, 5.0)
    with capture_logs() as lines:
        for _ in range(3):
            assert await asyncio.gather(*map(reader.get, [b"o:a", b"o:b"])) == [b"v", b"v"]
    await client.aclose()
    server.close()
    assert [line["event"] for line in lines] == ["redis values not bounded"]
