"""Counters of the edge: one fixed row of numbers a worker slot, in a shared file that any process may read.

A worker adds to its own row without a lock; the scrape sums the rows, so it does not matter which worker answers it.
A slot's file outlives its worker: counters never go back when one is restarted.
"""

import os
from pathlib import Path
from typing import TextIO

import structlog

from _fastocsp.shared.counters import Counters
from responder.files import map_file, open_map

ROW_SIZE = 1024

#: outcome label by row index; the compiled lane counts by these numbers
OUTCOMES = (
    "hit",
    "not_modified",
    "miss",
    "nonce",
    "several",
    "malformed",
    "unauthorized",
    "unknown",
    "try_later",
    "closed",
    "limited",
    "error",
)
GAUGES = {
    "connections": "connections that are open",
    "slow_lane": "questions to Redis or the signer under way",
}
#: Of the one table of the host: every worker writes the same, and they are not summed.
TABLE_GAUGES = {
    "table_entries": "records in the answer table of this host",
    "table_octets": "octets of that table in memory",
    "table_evicted": "records that had to make room in it since the master started",
    "table_emptied": "times that a worker was killed while it wrote, and the table was emptied",
}
_EVENTS = (
    "contradicted",
    "connections_opened",
    "connections_refused",
    "handed_over",
    "timed_out",
    "redis_found",
    "redis_absent",
    "redis_refused",
    "redis_failed",
    "signed_live",
    "signer_failed",
    "refreshed",
    "crl_served",
    "crl_expired_served",
    "crl_not_modified",
    "loop_failures",
    "connections_evicted",
    "forwarded_ignored",
    "nonce_malformed",
)
NAMES = tuple(f"answers:{outcome}" for outcome in OUTCOMES) + _EVENTS + tuple(GAUGES) + tuple(TABLE_GAUGES)
INDEX = {name: index for index, name in enumerate(NAMES)}
HELP = {
    "answers": "OCSP requests answered, by outcome",
    "contradicted": "cached answers that the revoked set contradicted at the gate",
    "connections_opened": "connections accepted",
    "connections_refused": "connections closed because there were too many",
    "handed_over": "connections handed to the full HTTP parser",
    "connections_evicted": "idle connections closed to make room for others",
    "nonce_malformed": "requests refused because their nonce has a forbidden length (NONCE_POLICY)",
    "forwarded_ignored": "requests with X-Forwarded-For from a peer that is not in TRUSTED_PROXIES",
    "timed_out": "connections closed because they were slow or idle",
    "redis_found": "records found in Redis",
    "redis_absent": "records not found in Redis",
    "redis_refused": "records in Redis that failed their check",
    "redis_failed": "Redis questions that failed or were not asked because the breaker was open",
    "signed_live": "records and answers signed on demand",
    "signer_failed": "questions to the signer that failed",
    "refreshed": "records replaced ahead of their end",
    "crl_served": "CRLs served in whole",
    "crl_expired_served": "CRLs served after their nextUpdate",
    "crl_not_modified": "GETs of a CRL answered 304",
    "loop_failures": "unforeseen failures of a background loop, each logged with its traceback; always a defect",
}


#: The row of the master, which counts beside its workers.
MASTER = "master"


def row_path(folder: Path, slot: int | str) -> Path:
    """The row of that worker slot, or of the master."""
    return folder / (f"{slot}.counters" if slot == MASTER else f"worker-{slot}.counters")


def open_row(folder: Path, slot: int | str) -> Counters:
    """This process's row, made when missing; gauges start at zero."""
    path = row_path(folder, slot)
    whole = path.exists() and path.stat().st_size == ROW_SIZE
    row = Counters(open_map(path, write=True) if whole else map_file(path, ROW_SIZE))
    for name in (*GAUGES, *TABLE_GAUGES):
        row.put(INDEX[name], 0)
    return row


def read_rows(folder: Path) -> dict[str, dict[str, int]]:
    """{file name: {name: number}} of every row there is, the master's among them."""
    rows = {}
    for path in sorted(folder.glob("*.counters")):
        try:
            row = Counters(open_map(path))
        except FileNotFoundError:  # a link into memory of a boot before, whose worker has not started yet
            continue
        rows[path.stem] = {name: row.get(index) for name, index in INDEX.items()}
    return rows


class LineLogger:
    """Write log lines to a stream and never raise: a full disk or a closed pipe ends no process.

    Lines that cannot be written are counted; the count is logged before the next line that can be written. The
    stream's file descriptor is used where there is one, so that nothing waits in a buffer whose flush would raise.
    """

    _lost = 0
    _is_torn = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        """Write one line to the stream."""
        cls = type(self)
        line = f"\n{message}\n" if cls._is_torn else f"{message}\n"
        if cls._lost:
            line = f'{{"event": "log lines lost", "level": "warning", "count": {cls._lost}}}\n{line}'
        try:
            cls._is_torn = not self._write(line)
            cls._lost = 1 if cls._is_torn else 0
        except (OSError, ValueError):  # ValueError: the stream is closed
            cls._lost += 1

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg

    def _write(self, line: str) -> bool:
        """Report whether the whole line was written."""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):  # a stream in memory
            self._stream.write(line)
            return True
        encoded = line.encode(errors="backslashreplace")
        return os.write(descriptor, encoded) == len(encoded)


def set_up_logs(log_format: str, process: str) -> None:
    """Lines for people on a terminal, JSON lines otherwise; every line names its process."""
    import sys

    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if text else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=lambda *_: LineLogger(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process, pid=os.getpid())
