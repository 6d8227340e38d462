"""A primary and a streaming standby: two real clusters of the product's own embedded kind, on Unix sockets."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import asyncpg
import psutil

from cachewarm.embedded.accounts import postgres_account
from cachewarm.embedded.binaries import find_postgres, reachable
from cachewarm.embedded.postgres import DATABASE, LOGINS, EmbeddedPostgres
from cachewarm.embedded.process import run_as
from tests.support.breakage import eventually, family

#: A standby that does not answer is noticed within seconds.
_SETTINGS = {"wal_receiver_timeout": "3s", "wal_sender_timeout": "3s", "wal_retrieve_retry_interval": "200ms"}


class Pair:
    """`first` begins as the primary, `second` follows it; with `synchronous` no commit returns before it has it."""

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        self._folder, self._synchronous = folder, synchronous
        self.first = EmbeddedPostgres(_made(folder / "first"), settings=_SETTINGS)
        self.first.start()
        self.second = self._standby()

    async def join(self) -> None:
        """Database, then the standby; until it streams."""
        await self.tell(self.first, f'create database "{DATABASE}" template template0', database="postgres")
        self.second.start()
        if self._synchronous:
            await self.tell(self.first, "alter system set synchronous_standby_names to '*'")
            await self.tell(self.first, "select pg_reload_conf()")
        state = "sync" if self._synchronous else "async"
        streams = "select count(*) from pg_stat_replication where state = 'streaming' and sync_state = $1"
        for _ in range(200):
            if await self.tell(self.first, streams, state) == 1:
                return
        raise AssertionError(f"no standby is {state}")

    def url(self, *servers: EmbeddedPostgres) -> str:
        """Of those servers in that order, of both when none is named: whichever is the primary."""
        hosts = ",".join(quote(str(server.socket_folder), safe="") for server in servers or (self.first, self.second))
        ports = ",".join("5432" for _ in servers or "12")
        login = f"{LOGINS['owner']}:{quote(self.first.passwords['owner'])}"
        return f"postgresql://{login}@/{DATABASE}?host={hosts}&port={ports}&target_session_attrs=primary"

    async def tell(self, server: EmbeddedPostgres, sql: str, *values: object, database: str = DATABASE) -> object:
        """The first value that it answers."""
        connection = await asyncpg.connect(server.url("owner", database), timeout=10)
        try:
            return await (connection.fetchval(sql, *values) if values else connection.fetchval(sql))
        finally:
            await connection.close()

    async def cut(self) -> None:
        """The standby hears nothing any more."""
        await self.tell(self.second, "alter system set primary_conninfo to ''", database="postgres")
        await self.tell(self.second, "select pg_reload_conf()", database="postgres")
        while self._receivers():
            await asyncio.sleep(0.01)

    def kill_first(self) -> None:
        """Power off."""
        assert self.first.pid is not None
        for pid in family(self.first.pid):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.first.exit_status is not None, 5)

    async def promote(self) -> None:
        """The standby is the primary of a new timeline."""
        assert await self.tell(self.second, "select pg_promote(true, 30)", database="postgres")

    def stop(self) -> None:
        """Both."""
        self.second.stop()
        self.first.stop()

    def tool(self, name: str, *words: str) -> None:
        """A program of this Postgres, as its account."""
        account, state = postgres_account(), self.first.state
        run_as([reachable(find_postgres(), account, state).bin / name, *words], account, cwd=state)

    def _standby(self) -> EmbeddedPostgres:
        folder = _made(self._folder / "second")
        shutil.copy2(self._folder / "first" / "postgres.passwords", folder)
        standby = EmbeddedPostgres(folder, settings=_SETTINGS)
        source = f"host={self.first.socket_folder} user={LOGINS['owner']} password={self.first.passwords['owner']}"
        self.tool(
            "pg_basebackup", "-D", str(standby.state / "cluster"), "-R", "-X", "stream", "-c", "fast", "-d", source
        )
        return standby

    def _receivers(self) -> list[int]:
        assert self.second.pid is not None
        children = psutil.Process(self.second.pid).children()
        return [child.pid for child in children if _receives(child)]


def _receives(child: psutil.Process) -> bool:
    try:
        return "walreceiver" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # it ended, or is about to be reaped, while it was asked
        return False


def _made(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o755)
    return folder
