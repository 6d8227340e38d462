"""Options that many commands share, and how they find the running instance."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import click

from cachewarm.cli.parameters import Option
from cachewarm.console import logs_to_the_person, say
from cachewarm.errors import Refused, Transient

if TYPE_CHECKING:
    from cachewarm.config import Settings

T = TypeVar("T")
#: Seconds that a command tries again while Postgres is away: a restart takes some.
LEDGER_PATIENCE_S = 15.0
#: 9999-01-01, epoch seconds: notAfter has four digits for the year (RFC 5280 4.1.2.5).
LATEST_END = 253_370_764_800

DataDir = Annotated[
    Path | None,
    Option(
        "--data-dir",
        help="Folder of the instance; FASTOCSP_DATA_DIR, else .fastocsp in this folder.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, Option("--json", help="One JSON object on standard output.")]
Validity = Annotated[str | None, Option("--validity", metavar="TIME", help="How long: 90d, 10y.", show_default=False)]


def settings_of(data_dir: Path | None, **given: Any) -> "Settings":
    """Settings of that instance, over them the environment, over it the command line."""
    from cachewarm.config import Settings
    from responder.config import load_settings

    return load_settings(Settings, data_dir=data_dir, **given)


async def run_with_ledger(
    settings: "Settings",
    act: Callable[[Any], Awaitable[T]],
    *,
    name: str = "fastocsp command",
    patience_s: float | None = None,
    repeatable: bool = True,
) -> T:
    """Return what `act` returns for a connection to the ledger, made for this command and closed after it.

    While Postgres is away, starts or restarts, it is tried again for `patience_s` (None: LEDGER_PATIENCE_S). `act` must
    be safe to repeat; where it is not, only connecting is tried again. OutcomeUnknown when an attempt may have
    committed and no later one could tell.
    """
    import asyncio

    from cachewarm.ledger.connect import OutcomeUnknown, connected

    until = time.monotonic() + (LEDGER_PATIENCE_S if patience_s is None else patience_s)
    pause_s, unknown, begun, told = 0.1, None, False, False
    while True:
        try:
            async with connected(settings.require_database(), name=name, actor=actor_name()) as connection:
                begun = not repeatable
                return await act(connection)
        except Transient as error:
            unknown = error if isinstance(error, OutcomeUnknown) else unknown
            if begun or not time.monotonic() + pause_s <= until:
                raise unknown or error from error
            if not told:
                say(f"{error}; trying again for {until - time.monotonic():.0f} s")
            told = True
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, 1.0)


def with_ledger(settings: "Settings", act: Callable[[Any], Awaitable[T]]) -> T:
    """Return what `act` returns for a connection to the ledger; see run_with_ledger."""
    import asyncio

    logs_to_the_person()
    return asyncio.run(run_with_ledger(settings, act))


def actor_name() -> str:
    """Return the name of this account, as the actor of audit rows."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


@contextmanager
def given_by(option: str) -> Iterator[None]:
    """Report an error about a value with the name of its option; exit status 2."""
    try:
        yield
    except (Refused, ValueError) as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def seconds_of(validity: str | None) -> int | None:
    """The whole seconds of --validity, at least one."""
    if validity is None:
        return None
    from responder.setting_values import parse_duration

    with given_by("--validity"):
        if validity.strip().replace(".", "", 1).isdigit():
            raise ValueError(f"{validity.strip()} has no unit: write {validity.strip()}d for days, 12h or 10y")
        seconds = int(cast("float", parse_duration(validity)))
        if not 1 <= seconds < LATEST_END - time.time():
            raise ValueError("must be at least 1s, and end before the year 9999")
    return seconds
