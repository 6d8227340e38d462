"""`fastocsp status` and `fastocsp check-config`.

Exit status: 0 all is well, 1 something is wrong with what runs, 2 something is wrong with the settings.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cachewarm.cli.options import AsJson, DataDir, settings_of
from cachewarm.cli.parameters import Option
from cachewarm.config import Settings
from cachewarm.console import fail, reported, say, show, show_rows
from responder.config import gather
from responder.setting_fields import ConfigError

if TYPE_CHECKING:
    from cachewarm.status.instance import Part


def status(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show what runs, how fresh it is and what it covers. Exit status 1 when anything is wrong."""
    import asyncio

    from cachewarm.status.instance import survey

    with reported():
        parts = asyncio.run(survey(settings_of(data_dir)))
        problems = [problem for part in parts.values() for problem in part.problems]
        if as_json:
            show(_object(parts, problems), as_json=True)
        else:
            _print_verdict(len(problems))
            for name, part in parts.items():
                _print(name, part)
        if problems:
            for problem in problems:
                say(problem)
            fail(_count(len(problems)))


def check_config(
    online: Annotated[
        bool, Option("--online", help="Connect to Postgres and Redis too: rights, schema, audit chain.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Report every problem of the settings at once; without any, the settings in force. Exit status 2 on problems."""
    from cachewarm.status.config_check import in_force, relation_problems, written_problems

    problems: list[str] = []
    settings: Settings | None = None
    try:
        settings = settings_of(data_dir)
        problems += relation_problems(settings)
    except ConfigError as error:
        problems += str(error).splitlines()
    problems += written_problems(gather(Settings, data_dir=data_dir))
    if online and settings is not None:
        import asyncio

        from cachewarm.status.online_check import online_problems

        problems += asyncio.run(online_problems(settings))
    shown = in_force(settings) if settings else {}
    if as_json:
        show({"ok": not problems, "problems": problems, "settings": shown}, as_json=True)
    elif not problems:
        show(shown, as_json=False)
    for problem in problems:
        say(problem)
    if problems:
        fail(
            f"{len(problems)} problems in the settings" if len(problems) > 1 else "one problem in the settings",
            status=2,
        )
    if settings is not None and settings.ocsp_rate_limit_per_ip_min and not settings.trusted_proxies:
        say("FASTOCSP_TRUSTED_PROXIES is empty: clients behind a proxy share one rate limit until it names that proxy")
    if settings is not None and settings.database_url is None:
        say("FASTOCSP_DATABASE_URL is not set: every process needs it, with its own login (fastocsp db roles)")
    say("the settings are fine")


def _object(parts: "Mapping[str, Part]", problems: Sequence[str]) -> dict[str, Any]:
    said = {name: part.facts | part.rows | {"problems": part.problems} for name, part in parts.items()}
    return {"ok": not problems, "problems": list(problems)} | said


def _count(problems: int) -> str:
    return f"{problems} problems" if problems > 1 else "one problem"


def _print_verdict(problems: int) -> None:
    import click

    text = f"{_count(problems)}, listed at the end" if problems else "all is well"
    click.echo(f"verdict: {click.style(text, fg='red' if problems else 'green', bold=True)}")


def _print(name: str, part: "Part") -> None:
    print(f"[{name}]")  # noqa: T201
    show(part.facts, as_json=False)
    for rows in part.rows.values():
        show_rows(rows, as_json=False)
    sys.stdout.flush()
