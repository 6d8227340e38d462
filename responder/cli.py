"""`python -m responder`: the edge alone, for a host that has no business with the write side."""

import sys

from responder.config import EdgeSettings, load_settings
from responder.master import run_master
from responder.setting_fields import PREFIX, ConfigError


def main() -> None:
    """Serve with the settings of the environment; `--help` lists them."""
    if set(sys.argv[1:]) & {"-h", "--help"}:
        print(_usage())  # noqa: T201
        return
    if sys.argv[1:] not in ([], ["serve"]):
        print(_usage(), file=sys.stderr)  # noqa: T201
        sys.exit(2)
    try:
        run_master(load_settings(EdgeSettings))
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except OSError as error:
        print(f"fastocsp: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _usage() -> str:
    lines = ["usage: python -m responder [serve]", "", "Settings, from the environment:"]
    for name, field in EdgeSettings.fields.items():
        lines.append(f"  {PREFIX}{name.upper():<28} {field.description} [{field.default}]")
    return "\n".join(lines)
