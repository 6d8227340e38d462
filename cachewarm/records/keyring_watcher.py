"""The keyring, kept current: a rotated pair is taken up within about a second, without a restart.

A look costs one query and one `stat`, however many issuers there are. Read again are the issuers that the ledger says
were changed, those whose key file changed, those whose pair expired, and a few of those that cannot sign.
"""

import asyncio
import heapq
import os
import time
from collections.abc import Awaitable, Callable, Collection
from itertools import chain, islice
from pathlib import Path

from cachewarm.ca.responder_certificate import issuer_of_key
from cachewarm.errors import CachewarmError, Transient
from cachewarm.ledger.chunks import chunks
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.entered import changed_issuers, current_place
from cachewarm.ledger.issuers import issuer_ids
from cachewarm.records.keyring import READ_TOGETHER, Keyring, load_keyring
from responder.errors import LINK_FAILURES
from responder.feed.place import Place
from responder.retry import Failures, Pauses, run_forever

KEYS_INTERVAL_S = 1.0
#: Until there is a ring nothing can be signed.
FIRST_INTERVAL_S = 0.2
PAUSES = Pauses(FIRST_INTERVAL_S, KEYS_INTERVAL_S)
#: Between two looks at every key file: one that was written in place does not change its folder.
FILES_INTERVAL_S = 30.0
#: Issuers that cannot sign, or not with their newest certificate, are read again after so many seconds, and at most so
#: many of them by one look.
RETRY_S, RETRIED = 2.0, 50


class KeyFiles:
    """Last known state of the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder_mark: int | None = None
        self._files: dict[str, tuple[int, int, int]] | None = None
        self._look_at = 0.0

    def changed(self) -> set[str]:
        """Return the names of files that are new, changed or gone since the last call; none at the first one."""
        try:
            mark: int | None = self._folder.stat().st_mtime_ns
        except OSError:
            mark = None
        if mark == self._folder_mark and time.monotonic() < self._look_at:
            return set()
        found = self._read()
        # a folder's time has a coarse grain: what changes right after this look must be seen by the next one
        is_settled = mark is not None and time.time_ns() - mark > 1_000_000_000
        self._folder_mark = mark if is_settled else None
        self._look_at = time.monotonic() + FILES_INTERVAL_S
        before, self._files = found if self._files is None else self._files, found
        return {name for name in before.keys() | found.keys() if before.get(name) != found.get(name)}

    def _read(self) -> dict[str, tuple[int, int, int]]:
        found = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    stat = entry.stat()
                    found[entry.name] = stat.st_mtime_ns, stat.st_size, stat.st_mode
        except OSError:
            return {}
        return found


class KeyringWatcher:
    """The current keyring. Any number of loops may read it, each on its own connection."""

    def __init__(
        self,
        open_connection: Callable[[], Awaitable[Connection]],
        folder: Path,
        passphrase: bytes | None,
        count_defect: Callable[[], object] | None = None,
    ) -> None:
        self._open, self._folder, self._passphrase = open_connection, folder, passphrase
        self._count = count_defect
        self._mutex = asyncio.Lock()
        self._place: Place | None = None
        self._files = KeyFiles(folder)
        self._ends: list[tuple[int, str]] = []
        self._retry_at: dict[str, float] = {}
        self._touched: set[str] = set()
        self.keyring = Keyring()

    async def run(self) -> None:
        """Until cancelled; the last keyring stays while the ledger is away."""
        failures = Failures(
            name="keyring", event="keys not read", expected=(CachewarmError, *LINK_FAILURES), count=self._count
        )
        await run_forever(self._read_repeatedly, PAUSES, failures)

    async def _read_repeatedly(self) -> None:
        connection = await self._open()
        try:
            while True:
                await self.read(connection)
                await asyncio.sleep(KEYS_INTERVAL_S if self.keyring.issuers else FIRST_INTERVAL_S)
        finally:
            connection.terminate()

    async def read(self, connection: Connection) -> Keyring:
        """Look once; return the keyring, the same object where nothing changed."""
        async with self._mutex:
            now = int(time.time())
            touched = {issuer_id for name in self._files.changed() if (issuer_id := issuer_of_key(name))}
            self._touched |= touched
            try:
                place, only = await self._changed(connection)
                if only is not None:
                    only |= touched | self._ended(now) | self._retried()
                if only is None and not self.keyring.issuers:  # whoever is read can be signed for at once
                    for chunk in chunks(await issuer_ids(connection), READ_TOGETHER):
                        self._take(await self._load(connection, now, chunk))
                elif only is None or only:
                    self._take(await self._load(connection, now, only))
            except BaseException:
                self._place = None
                raise
            self._place = place
            return self.keyring

    def take_touched(self) -> set[str]:
        """Return the ids of the issuers whose key file changed since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    async def _load(self, connection: Connection, now: int, only: Collection[str] | None) -> Keyring:
        return await load_keyring(connection, self._folder, self._passphrase, now, self.keyring, only)

    async def _changed(self, connection: Connection) -> tuple[Place, set[str] | None]:
        """Return which issuers the ledger says were changed; None for all, as after a failure."""
        if connection.is_closed():
            raise Transient("Postgres cannot be reached: the connection was lost")
        if self._place is None:
            return await current_place(connection), None
        changed = await changed_issuers(connection, "issuer", self._place)
        return changed.place, None if changed.ids is None else set(changed.ids)

    def _take(self, ring: Keyring) -> None:
        if ring is self.keyring:
            return
        self.keyring = ring
        self._ends = [
            (signing.pair.certificate.not_after, ring.issuers[number].issuer_id)
            for number, signing in ring.signing.items()
        ]
        heapq.heapify(self._ends)
        retried = [ring.issuers[number].issuer_id for number in chain(ring.behind, ring.unusable)]
        soon = time.monotonic() + RETRY_S
        self._retry_at = {issuer_id: self._retry_at.get(issuer_id, soon) for issuer_id in retried}

    def _ended(self, now: int) -> set[str]:
        found = set()
        while self._ends and self._ends[0][0] < now:
            found.add(heapq.heappop(self._ends)[1])
        return found

    def _retried(self) -> set[str]:
        now = time.monotonic()
        due = set(islice((issuer_id for issuer_id, at in self._retry_at.items() if at <= now), RETRIED))
        for issuer_id in due:  # behind those that have waited longer
            del self._retry_at[issuer_id]
            self._retry_at[issuer_id] = now + RETRY_S
        return due
