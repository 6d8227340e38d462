"""Values in Redis are not believed, and cost no more memory than a record."""

import asyncio
from pathlib import Path

import redis
from structlog.testing import capture_logs

from _fastocsp.ocsp.record import MAX_RECORD, pack_record
from _fastocsp.wire.codes import GOOD
from _fastocsp.wire.types import Record
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.records import publisher
from responder.domain.key import Key
from responder.domain.redis_layout import ANNOUNCE_STREAM, MAX_NAME, record_name
from responder.sources.redis_reader import ANNOUNCED_AT_ONCE, Announcements, BatchReader, connect


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


async def test_writer_reads_no_more_of_a_value_than_a_record(valkey: EmbeddedValkey) -> None:
    """Thirty MiB at the place of a record are cut, dropped as what they are, and replaced; so is another type."""
    keys = [Key(1, 1, bytes((number,))) for number in range(1, 4)]
    large, listed, none = map(record_name, keys)
    client = publisher.connect(valkey.url("writer"))
    writer = publisher.Publisher(client)
    await client.set(large, bytes(30 << 20))
    await client.rpush(listed, b"x")
    kept = await writer.kept(keys)
    assert [None if value is None else len(value) for value in kept] == [MAX_RECORD + 1, None, None]
    assert await writer.discard([(keys[0], kept[0] or b"")]) == 1
    assert await client.exists(large, none) == 0
    record = pack_record(Record(1, GOOD, b"respondr", 1, 2**32 - 1, 1, signature=b"s"))
    assert await writer.publish([(key, record) for key in keys]) == 3
    assert await writer.kept(keys) == [record] * 3
    assert await writer.kept([Key(1, 1, number.to_bytes(3, "big")) for number in range(1 << 16, (1 << 16) + 600)])
    await client.aclose()


async def test_announcements_bring_no_more_than_names(valkey: EmbeddedValkey) -> None:
    """An entry of thirty MiB, one without a name and a long name are left out; the others come in their order."""
    client, writer = connect(valkey.url("reader"), 5.0), publisher.connect(valkey.url("writer"))
    await writer.xadd(ANNOUNCE_STREAM, {b"k": b"o:before"})
    announcements = Announcements()
    assert await announcements.read(client) == []
    await writer.xadd(ANNOUNCE_STREAM, {b"k": b"o:first"})
    await writer.xadd(ANNOUNCE_STREAM, {b"k": bytes(30 << 20)})
    await writer.xadd(ANNOUNCE_STREAM, {b"x": b"y"})
    await writer.xadd(ANNOUNCE_STREAM, {b"k": b"o:" + b"n" * (MAX_NAME - 2)})
    await writer.xadd(ANNOUNCE_STREAM, {b"k": b"n" * (MAX_NAME + 1)})
    with capture_logs() as lines:
        assert await announcements.read(client) == [b"o:first", b"o:" + b"n" * (MAX_NAME - 2)]
        assert await announcements.read(client) == []
    for number in range(ANNOUNCED_AT_ONCE + 1):
        await writer.xadd(ANNOUNCE_STREAM, {b"k": b"%d" % number})
    assert [len(await announcements.read(client)) for _ in range(3)] == [ANNOUNCED_AT_ONCE, 1, 0]
    assert lines == []
    await client.aclose()
    await writer.aclose()


async def refuse_scripts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server whose access list allows MGET and no script; each command is one array of bulk strings."""
    while head := await reader.readline():
        words = []
        for _ in range(int(head[1:])):
            length = int((await reader.readline())[1:])
            words.append((await reader.readexactly(length + 2))[:-2])
        count = len(words) - 1
        entry = b"*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nk\r\n$1\r\nn\r\n"
        answers = {b"XREAD": b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n" + entry} | {
            b"MGET": b"*%d\r\n" % count + b"$1\r\nv\r\n" * count,
            b"EVAL_RO": b"-NOPERM no\r\n",
        }
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


async def test_login_that_may_run_no_script_reads_announcements_as_before(tmp_path: Path) -> None:
    """Likewise, and logged once."""
    server = await asyncio.start_unix_server(refuse_scripts, str(tmp_path / "redis.sock"))
    client = connect(f"unix://{tmp_path}/redis.sock?protocol=2", 5.0)
    announcements = Announcements()
    with capture_logs() as lines:
        assert [await announcements.read(client) for _ in range(3)] == [[], [b"n"], [b"n"]]
    await client.aclose()
    server.close()
    assert [line["event"] for line in lines] == ["redis announcements not bounded"]
