"""The embedded Valkey: two users, a socket, a snapshot."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cachewarm.embedded.valkey import EmbeddedValkey


@pytest.fixture
def server(open_folder: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey of its own."""
    own = EmbeddedValkey(open_folder, maxmemory=32 << 20)
    own.start()
    yield own
    own.stop()


def test_the_reader_reads_and_does_nothing_else(valkey: EmbeddedValkey) -> None:
    """GET, MGET, XREAD and XINFO are answered, every writing or looking-around command is refused."""
    with redis.Redis.from_url(valkey.url("writer")) as writer, redis.Redis.from_url(valkey.url("reader")) as reader:
        writer.set("k", b"v")
        writer.xadd("s", {"a": "b"})
        assert reader.get("k") == b"v"
        assert reader.mget(["k", "none"]) == [b"v", None]
        assert reader.xread({"s": "0"})
        assert reader.xinfo_stream("s")["length"] == 1
        assert reader.ping()
        assert set(reader.scan_iter(match="k*")) == {b"k"}
        for command in (
            "SET k 2",
            "DEL k",
            "KEYS *",
            "CONFIG GET *",
            "FLUSHALL",
            "XADD s * a b",
            "INFO",
            "ACL LIST",
            "EVAL return(1) 0",
            "SUBSCRIBE c",
            "CLIENT LIST",
            "SHUTDOWN",
            "GETDEL k",
            "SELECT 1",
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                reader.execute_command(*command.split())


def test_the_writer_has_streams_scripts_and_no_administration(valkey: EmbeddedValkey) -> None:
    """What publishing needs is there, and emptying it, which is safe at any time; what could take it over is not."""
    with redis.Redis.from_url(valkey.url("writer")) as writer:
        assert writer.register_script("return redis.call('SET', KEYS[1], ARGV[1])")(keys=["k"], args=["v"])
        assert writer.pipeline(transaction=True).set("a", 1).get("a").execute() == [True, b"1"]
        assert writer.flushall()
        for command in ("CONFIG SET dir /tmp", "SHUTDOWN", "ACL LIST", "REPLICAOF host 1", "MODULE LIST"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                writer.execute_command(*command.split())


def test_nobody_comes_in_without_a_password(server: EmbeddedValkey) -> None:
    """The default user is off; socket, users' file and passwords are for us alone."""
    with (
        redis.Redis(unix_socket_path=str(server.socket)) as stranger,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        stranger.ping()
    assert server.socket.parent.stat().st_mode & 0o777 == 0o700
    assert server.socket.stat().st_mode & 0o777 == 0o700
    assert (server.data_dir / "valkey.passwords").stat().st_mode & 0o777 == 0o600
    assert server.passwords["writer"] not in (server.state / "users.acl").read_text()


def test_a_restart_keeps_the_records(server: EmbeddedValkey) -> None:
    """An orderly stop writes a snapshot, the next start reads it, the passwords stay."""
    with redis.Redis.from_url(server.url()) as writer:
        writer.set("k", "v")
    server.stop()
    server.start()
    with redis.Redis.from_url(server.url("reader")) as reader:
        assert reader.get("k") == b"v"


def test_start_after_a_kill(server: EmbeddedValkey) -> None:
    """After kill -9 the supervisor sees the exit and start() brings it back."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.exit_status is None:
        time.sleep(0.01)
    assert server.exit_status == -signal.SIGKILL
    server.start()
    assert server.exit_status is None


def test_an_unreadable_snapshot_costs_the_records_only(server: EmbeddedValkey) -> None:
    """A damaged dump.rdb is put aside and the server starts empty."""
    server.stop()
    (server.state / "dump.rdb").write_bytes(b"VALKEY080\xff garbage")
    server.start()
    assert (server.state / "dump.rdb.unreadable").exists()
    with redis.Redis.from_url(server.url()) as writer:
        assert writer.dbsize() == 0
