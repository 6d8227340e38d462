"""How every command speaks: tables and colours to a terminal, plain lines to a pipe, one JSON object with --json.

Exit status: 0 done, 1 failed, 2 usage. Progress and errors go to standard error, results to standard output.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from cachewarm.errors import CachewarmError


def show(result: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: its fields."""
    if as_json:
        print(json.dumps(result, default=str))  # noqa: T201
    elif sys.stdout.isatty():
        show_rows([{"field": key, "value": value} for key, value in result.items()], as_json=False)
    else:
        for key, value in result.items():
            print(f"{key}: {_plain(value)}")  # noqa: T201


def show_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, name: str = "rows") -> None:
    """Many things: a table, tab-separated lines with a head line, or {name: [...], "row_count": n}."""
    if as_json:
        print(json.dumps({name: list(rows), "row_count": len(rows)}, default=str))  # noqa: T201
    elif sys.stdout.isatty():
        _table(rows)
    elif rows:
        print("\t".join(rows[0]))  # noqa: T201
        for row in rows:
            print("\t".join(_plain(value) for value in row.values()))  # noqa: T201


def say(text: str) -> None:
    """A line for the person, on standard error."""
    with suppress(OSError):  # a full disk or a closed pipe behind standard error ends no command
        print(text, file=sys.stderr)  # noqa: T201


@contextmanager
def progress(title: str, total: int | None) -> Iterator["Progress"]:
    """A bar on a terminal, a line every two seconds otherwise; call `advance(n)`."""
    meter = Progress(title, total)
    try:
        yield meter
    finally:
        meter.close()


class Progress:
    """How far a long job is."""

    def __init__(self, title: str, total: int | None) -> None:
        import time

        self._clock = time.monotonic
        self._title, self._total, self._done = title, total, 0
        self._begun = self._said = self._clock()
        self._bar: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(title, total=total)

    def advance(self, n: int) -> None:
        """`n` more are done."""
        self._done += n
        if self._bar is not None:
            self._bar.update(self._task, advance=n)
        elif self._clock() - self._said >= 2:
            self._said = self._clock()
            print(self._line(), file=sys.stderr)  # noqa: T201

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _line(self) -> str:
        took = self._clock() - self._begun
        if not self._done:
            return f"{self._title}: {took:.0f} s"
        rate = self._done / max(took, 1e-9)
        if not self._total:
            return f"{self._title}: {self._done}, {rate:.0f} a second"
        left = (self._total - self._done) / max(rate, 1e-9)
        return f"{self._title}: {self._done} of {self._total}, {rate:.0f} a second, {left:.0f} s left"


def logs_to_the_person() -> None:
    """Send log events to standard error, warnings and errors only: standard output is for the result."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def fail(text: str, *, status: int = 1) -> NoReturn:
    """Say what is wrong and leave."""
    say(f"fastocsp: {text}")
    raise click.exceptions.Exit(status)


@contextmanager
def reported() -> Iterator[None]:
    """Turns errors an operator can mend into one clear line: usage 2, the rest 1."""
    try:
        yield
    except _config_error() as error:
        fail(str(error), status=2)
    except CachewarmError as error:
        fail(str(error))
    except ConnectionRefusedError as error:
        fail(f"nothing listens there: {error}")
    except OSError as error:
        if isinstance(error, BrokenPipeError) and not _has_reader():
            raise  # `| head`: the command ends without a message
        fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))


def _has_reader() -> bool:
    """Return False once the program that reads our standard output has ended."""
    import select

    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # not a file
        return True
    return not poll.poll(0)


def _config_error() -> type[Exception]:
    """Return the class of errors in settings, which is loaded when there is an error: not for every command."""
    from responder.setting_fields import ConfigError

    return ConfigError


def _plain(value: Any) -> str:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return " ".join(map(str, value))
    return "-" if value is None else str(value)


def _table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(*rows[0], header_style="bold", box=None)
    for row in rows:
        table.add_row(*(_plain(value) for value in row.values()))
    Console().print(table)
