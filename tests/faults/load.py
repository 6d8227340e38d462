"""The askers, in a process of their own: keep-alive connections to every host, half of the questions with a nonce.

`python -m tests.faults.load` is told what to do by lines of JSON: {"hosts", "issuer", "certificates", "connections",
"workers", "pause_s"} first, then {"window": [...], "again": false}, {"count": true}, {"drain": true}; it answers each
with a line, a drain with the history since the last one. A broken connection is made again after 50 ms and the question
repeated, once: a client does that. Each question has its patience.
"""

import asyncio
import json
import random
import secrets
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.history import Asked
from tests.faults.hosts import workers_of
from tests.faults.reading import Read, Reader
from tests.support.http import certificate, post_octets, question

PATIENCE_S = 3.0
#: A process that dies closes its connections before its listener: who is back at once meets it again.
RECONNECT_S = 0.05
NONCE_OCTETS, KNOW_TRIES, MOVES = 16, 10, 12
_MARK = b"\x5a" * NONCE_OCTETS


class Door(NamedTuple):
    """Where a host is asked, and where it says which processes are its workers."""

    address: str
    port: int
    run_folder: Path


class Serial:
    """A certificate's two requests; the nonce is put in where the mark is."""

    def __init__(self, path: Path, issuer: Path) -> None:
        cert, authority = certificate(path), certificate(issuer)
        self.name, self.number = path.stem, cert.serial_number
        self.plain = post_octets(question(cert, authority))
        self._head, self._tail = post_octets(question(cert, authority, nonce=_MARK)).split(_MARK)

    def octets(self, nonce: bytes | None) -> bytes:
        """The whole POST."""
        return self.plain if nonce is None else self._head + nonce + self._tail


class Askers:
    """All of them."""

    def __init__(self, told: dict[str, Any]) -> None:
        issuer = Path(told["issuer"])
        self.serials = {Path(path).stem: Serial(Path(path), issuer) for path in told["certificates"]}
        self.window = list(self.serials)
        self._known: set[str] = set()
        self.reader = Reader(certificate(issuer))
        self.history: list[Asked] = []
        self.pause_s: float = told["pause_s"]
        self.hosts = {name: Door(address, port, Path(run)) for name, (address, port, run) in told["hosts"].items()}
        self._share: int = told["connections"] // told["workers"]
        self.askers = [
            Asker(self, name, door, number)
            for name, door in self.hosts.items()
            for number in range(told["connections"])
        ]
        self.tasks = [asyncio.get_running_loop().create_task(asker.run()) for asker in self.askers]

    def crowded(self, worker: int) -> bool:
        """That worker has more than its share of the connections: the kernel gives them out as it likes."""
        return sum(asker.worker == worker for asker in self.askers) > self._share

    async def know(self, *, again: bool) -> None:
        """Ask every host for every serial that is new to the window with a nonce: its signer then knows that it was
        issued. `again`: for all of them, as a signer has forgotten.
        """
        new = [name for name in self.window if again or name not in self._known]
        self._known.update(new)
        await asyncio.gather(*(Asker(self, name, door, -1).once_each(new) for name, door in self.hosts.items()))


class Asker:
    """One connection."""

    def __init__(self, askers: Askers, host: str, door: Door, number: int) -> None:
        self._askers, self._host, self._door = askers, host, door
        self._random = random.Random(f"{host} {number}")
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.worker = self._moves = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._askers.pause_s * self._random.uniform(0.5, 1.5))
            serial = self._askers.serials[self._random.choice(self._askers.window)]
            nonce = secrets.token_bytes(NONCE_OCTETS) if self._random.random() < 0.5 else None
            self._askers.history.append(await self._ask(serial, nonce))

    async def once_each(self, names: list[str]) -> None:
        """These, until each is answered once."""
        for name in names:
            for _ in range(KNOW_TRIES):
                one = await self._ask(self._askers.serials[name], secrets.token_bytes(NONCE_OCTETS))
                self._askers.history.append(one)
                if one.answered:
                    break
                await asyncio.sleep(0.2)
        self._hang_up()

    async def _ask(self, serial: Serial, nonce: bytes | None) -> Asked:
        wall, invoke = time.time(), time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                read = await self._twice(serial, nonce)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            read = Read(f"failed: {error or type(error).__name__}")
            self._hang_up()
        returned, worker = time.monotonic(), self.worker
        if self._streams and not self.worker:
            ours = self._streams[1].get_extra_info("sockname")
            self.worker = await asyncio.to_thread(worker_of, ours, self._door.run_folder)
            if self._askers.crowded(self.worker) and self._moves < MOVES:
                self._moves += 1
                self._hang_up()
            else:
                self._moves = 0
        return Asked(self._host, worker, serial.name, nonce is not None, invoke, returned, wall, *read[:5])

    async def _twice(self, serial: Serial, nonce: bytes | None) -> Read:
        try:
            return await self._once(serial, nonce)
        except (OSError, EOFError):
            self._hang_up()
            await asyncio.sleep(RECONNECT_S)
            return await self._once(serial, nonce)

    async def _once(self, serial: Serial, nonce: bytes | None) -> Read:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._door.address, self._door.port)
        reader, writer = self._streams
        writer.write(serial.octets(nonce))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        read = self._askers.reader.read(await reader.readexactly(length), keep=nonce is None)
        if read.serial and (read.serial != serial.number or read.nonce != nonce):
            return Read("failed: the answer to another question")
        return read

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams, self.worker = None, 0


def worker_of(ours: tuple[str, int], run_folder: Path) -> int:
    """The worker that has the other end of this connection of ours; 0 when it is gone already. /proc/PID/net is of the
    network that the process is in.
    """
    wanted = f"{int.from_bytes(socket.inet_aton(ours[0]), sys.byteorder):08X}:{ours[1]:04X}"
    for pid in workers_of(run_folder):
        with suppress(OSError):
            rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
            sockets = {f"socket:[{row[9]}]" for row in rows if row[2] == wanted}
            if any(str(fd.readlink()) in sockets for fd in Path(f"/proc/{pid}/fd").iterdir()):
                return pid
    return 0


async def main() -> None:
    """Until standard input ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    askers = Askers(json.loads(await lines.readline()))
    say({"asking": len(askers.tasks)})
    while line := await lines.readline():
        told = json.loads(line)
        if "window" in told:
            askers.window = told["window"]
            await askers.know(again=told["again"])
            say({"known": len(askers.window)})
        if "count" in told:
            say(len(askers.history))
        if "drain" in told:
            history, askers.history = askers.history, []
            say(history)
        for task in askers.tasks:
            if task.done():
                task.result()


def say(what: object) -> None:
    """A line on standard output."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
