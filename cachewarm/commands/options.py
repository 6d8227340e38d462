"""Options that many commands share, and how they find the running instance."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cachewarm.config import Settings
from responder.config import load_settings

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder of the instance; FASTOCSP_DATA_DIR, else .fastocsp in this folder.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def settings_of(data_dir: Path | None, **given: Any) -> Settings:
    """Settings of that instance, over them the environment, over it the command line."""
    return load_settings(Settings, data_dir=data_dir, **given)
