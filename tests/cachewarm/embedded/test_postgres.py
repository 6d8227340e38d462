"""The embedded Postgres: survives kills, dies with its parent, belongs to one process, keeps its data."""

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from cachewarm.embedded.accounts import postgres_account
from cachewarm.embedded.binaries import postgres_in
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.process import as_account
from cachewarm.embedded.provision import DatabaseURLs, database_urls, provision
from cachewarm.errors import Fatal, Refused
from tests.cachewarm.embedded.conftest import command_line, is_alive, kill_hard, python, said, wait_until

START = """
import sys
from pathlib import Path
from cachewarm.embedded.binaries import postgres_in
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.valkey import EmbeddedValkey
servers = [EmbeddedPostgres(Path({folder!r})), EmbeddedValkey(Path({folder!r}))]
for server in servers:
    server.start()
print(*(server.pid for server in servers), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A Postgres of its own, started."""
    own = EmbeddedPostgres(open_folder)
    own.start()
    yield own
    own.stop()


async def remember(url: str) -> None:
    """Commit something."""
    connection = await asyncpg.connect(url)
    await connection.execute("create table kept (a int); insert into kept values (42)")
    await connection.close()


async def remembered(url: str) -> object:
    """What was committed."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("select a from kept")
    finally:
        await connection.close()


async def test_a_killed_postmaster_comes_back_with_its_data(server: EmbeddedPostgres) -> None:
    """Kill -9, the supervisor sees it, start() recovers: what was committed is there, the pid file is no obstacle."""
    await remember(server.url("owner", "postgres"))
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: server.exit_status == -signal.SIGKILL)
    assert (server.state / "cluster" / "postmaster.pid").exists()
    server.start()
    assert await remembered(server.url("owner", "postgres")) == 42


async def test_a_busy_orphan_does_not_block_the_start(server: EmbeddedPostgres) -> None:
    """A backend that computes does not see its postmaster die: the next start ends it instead of giving up."""
    connection = await asyncpg.connect(server.url("owner", "postgres"))
    busy = asyncio.create_task(connection.execute("do $$ begin loop perform null; end loop; end $$"))
    await asyncio.sleep(0.3)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: server.exit_status is not None)
    server.start()
    assert b"is still in use" in server.log.read_bytes()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await asyncio.wait_for(busy, 10)
    connection.terminate()
    await remember(server.url("owner", "postgres"))


def test_a_reused_process_number_does_not_get_in_the_way(server: EmbeddedPostgres) -> None:
    """The pid file names a live process of the same account that is no Postgres of ours: start() sees through it."""
    asyncio.run(remember(server.url("owner", "postgres")))
    pid_file = server.state / "cluster" / "postmaster.pid"
    lines = pid_file.read_text().splitlines(keepends=True)
    server.stop()
    account = postgres_account()
    with subprocess.Popen(["sleep", "60"], cwd="/", **as_account(account)) as stranger:
        pid_file.write_text("".join([f"{stranger.pid}\n", *lines[1:]]))
        os.chown(pid_file, pid_file.parent.stat().st_uid, -1)
        server.start()
        stranger.kill()
    assert asyncio.run(remembered(server.url("owner", "postgres"))) == 42


def test_servers_die_with_their_parent_and_the_next_start_waits_for_them(open_folder: Path) -> None:
    """Kill -9 of the parent ends both servers; a start at that very moment works and finds the same cluster."""
    with python(START.format(folder=str(open_folder))) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert all(map(is_alive, pids))
        second = said(START.format(folder=str(open_folder)))
        assert "Refused" in second
        assert "in use by another process" in second
        kill_hard(parent)
    server = EmbeddedPostgres(open_folder)
    server.start()
    wait_until(lambda: not any(map(is_alive, pids)))
    asyncio.run(remember(server.url("owner", "postgres")))
    server.stop()


def test_two_objects_cannot_have_one_folder(server: EmbeddedPostgres) -> None:
    """The lock also holds within one process, and start() of a running server is nothing."""
    before = server.pid
    with pytest.raises(Refused, match="in use"):
        EmbeddedPostgres(server.data_dir).start()
    server.start()
    assert server.pid == before


async def test_every_login_works_and_none_without_a_password(server: EmbeddedPostgres) -> None:
    """Each process has a login of its own; a wrong password is refused; files and folders are for us alone."""
    urls: DatabaseURLs = await provision(server)
    for url, name in [
        (urls.owner, "fastocsp"),
        (urls.warmer, "fastocsp_warmer"),
        (urls.admin, "fastocsp_admin"),
        (urls.cli, "fastocsp_cli"),
        (urls.edge, "fastocsp_edge"),
        (urls.signer, "fastocsp_signer"),
    ]:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("select session_user") == name
        await connection.close()
        assert server.passwords["owner"] not in repr(urls)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(urls.owner.replace("fastocsp:", "fastocsp:x"))
    assert (server.data_dir / "postgres.passwords").stat().st_mode & 0o777 == 0o600
    assert server.socket_folder.stat().st_mode & 0o777 == 0o700
    assert server.passwords["owner"] not in command_line(server.pid)


async def test_it_is_small_and_durable(server: EmbeddedPostgres) -> None:
    """No TCP, fsync on, checksums on, jit off."""
    connection = await asyncpg.connect(server.url("owner", "postgres"))
    expected = {
        "listen_addresses": "",
        "fsync": "on",
        "data_checksums": "on",
        "jit": "off",
        "max_connections": "100",
        "synchronous_commit": "on",
    }
    assert {name: await connection.fetchval(f"show {name}") for name in expected} == expected
    await connection.close()


def test_an_interrupted_initdb_is_done_again(open_folder: Path) -> None:
    """What a crash left of the cluster is thrown away."""
    server = EmbeddedPostgres(open_folder)
    (server.state / "cluster.tmp" / "base").mkdir(parents=True)
    server.start()
    server.stop()
    assert not (server.state / "cluster.tmp").exists()


def test_a_database_that_is_gone_is_not_silently_replaced(server: EmbeddedPostgres) -> None:
    """An empty ledger would call every revoked certificate good."""
    server.stop()
    (server.state / "cluster").rename(server.state / "elsewhere")
    with pytest.raises(Fatal, match="is gone"):
        server.start()


def test_a_server_that_does_not_start_says_why(open_folder: Path) -> None:
    """The log's last lines are in the error."""
    server = EmbeddedPostgres(open_folder, settings={"shared_buffers": "nonsense"})
    with pytest.raises(Fatal, match="nonsense"):
        server.start()
    server.stop()


def test_a_thread_cannot_make_a_server(open_folder: Path) -> None:
    """The death signal follows the thread: a server made by one would end with it."""
    server, errors = EmbeddedPostgres(open_folder), []

    def start() -> None:
        try:
            server.start()
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert ["main thread" in error for error in errors] == [True]
    server.stop()


def test_a_cluster_of_another_postgres_is_refused(server: EmbeddedPostgres) -> None:
    """Its files cannot be read by this one: say so before the server says it less clearly."""
    server.stop()
    (server.state / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(Refused, match="is of Postgres 9"):
        server.start()


@pytest.mark.parametrize(
    "folder", sorted(Path("/usr/lib/postgresql").glob("*/bin")), ids=lambda folder: folder.parent.name
)
def test_the_distributions_postgres_will_do(open_folder: Path, folder: Path) -> None:
    """Without the wheel: any Postgres from 15 on is provisioned, whatever its initdb calls its locale."""
    binaries = postgres_in(folder)
    if binaries is None:
        pytest.skip("too old, or the client's half alone")
    server = EmbeddedPostgres(open_folder, binaries=binaries)
    server.start()
    assert asyncio.run(provision(server)) == database_urls(server)
    server.stop()


def test_a_zombie_postmaster_does_not_block_the_start(open_folder: Path) -> None:
    """A killed postmaster that has not been collected still has a process number: the next start sees through it."""
    killed = EmbeddedPostgres(open_folder)
    killed.start()
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(killed.pid or 0))
    assert Path(f"/proc/{killed.pid}").exists()  # a zombie: its Popen object has not polled it
    killed._lock.release()
    server = EmbeddedPostgres(open_folder)
    server.start()
    asyncio.run(remember(server.url("owner", "postgres")))
    server.stop()
    killed.stop()
