"""Options that many commands share, and how they find the running instance."""

import asyncio
import getpass
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer

from cachewarm.config import Settings
from cachewarm.console import logs_to_the_person
from cachewarm.errors import Refused
from responder.config import load_settings, parse_duration

T = TypeVar("T")
#: 9999-01-01, epoch seconds: notAfter has four digits for the year (RFC 5280 4.1.2.5).
LATEST_END = 253_370_764_800

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder of the instance; FASTOCSP_DATA_DIR, else .fastocsp in this folder.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Validity = Annotated[
    str | None, typer.Option("--validity", metavar="TIME", help="How long: 90d, 10y.", show_default=False)
]


def settings_of(data_dir: Path | None, **given: Any) -> Settings:
    """Settings of that instance, over them the environment, over it the command line."""
    return load_settings(Settings, data_dir=data_dir, **given)


def with_ledger(settings: Settings, act: Callable[[Any], Awaitable[T]]) -> T:
    """What `act` returns for a connection to the ledger, made for this command and closed after it."""
    from cachewarm.ledger.connect import connected

    logs_to_the_person()

    async def run() -> T:
        async with connected(settings.require_database(), name="fastocsp command") as connection:
            return await act(connection)

    return asyncio.run(run())


def actor_name() -> str:
    """Who the audit chain says it was."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


@contextmanager
def given_by(option: str) -> Iterator[None]:
    """What is wrong with a value is said with the option's name; exit status 2."""
    try:
        yield
    except (Refused, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def seconds_of(validity: str | None) -> int | None:
    """The whole seconds of --validity, at least one."""
    if validity is None:
        return None
    with given_by("--validity"):
        seconds = int(cast("float", parse_duration(validity)))
        if not 1 <= seconds < LATEST_END - time.time():
            raise ValueError("must be at least 1s, and end before the year 9999")
    return seconds
