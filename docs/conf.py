"""Sphinx: furo and MyST, warnings are errors. The pages of settings and commands are made from the code."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

project = "fastocsp"
author = "The fastocsp engineers"
copyright = "2026, the fastocsp engineers"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "fastocsp"
exclude_patterns = ["_build", "_settings.md", "_commands.md"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3


def write_settings() -> None:
    """Every setting with its default and its meaning."""
    from cachewarm.config import Settings

    lines = ["| Setting | Default | Meaning |", "|---|---|---|"]
    for name, field in sorted(Settings.fields.items()):
        default = field.default_value()
        shown = "" if default is None or default in ((), {}) else str(default)
        lines.append(f"| `FASTOCSP_{name.upper()}` | {shown} | {field.description} |")
    (HERE / "_settings.md").write_text("\n".join(lines) + "\n")


def write_commands() -> None:
    """The help of every command."""
    from click.testing import CliRunner

    from cachewarm.cli.main import COMMANDS, app

    parts = []
    for name, (_, _, text) in COMMANDS.items():
        shown = CliRunner().invoke(app, [name, "--help"], terminal_width=100).output
        parts.append(f"## {name}\n\n{text}\n\n```text\n{shown.strip()}\n```\n")
    (HERE / "_commands.md").write_text("\n".join(parts))


write_settings()
write_commands()
