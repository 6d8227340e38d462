"""`fastocsp completion`: the script with which a shell completes our commands, options and their values."""

from typing import Annotated

import click

from cachewarm.cli.parameters import Argument

#: The variable by which the script calls the program for completions.
VARIABLE = "_FASTOCSP_COMPLETE"


def completion(shell: Annotated[str, Argument(metavar="bash|zsh|fish", help="The shell.")]) -> None:
    """Print a script that completes commands and options in a shell. No file is changed.

    bash (4.4 or newer): fastocsp completion bash > ~/.local/share/bash-completion/completions/fastocsp

    zsh: fastocsp completion zsh > a file _fastocsp in a folder of $fpath

    fish: fastocsp completion fish > ~/.config/fish/completions/fastocsp.fish
    """
    from click.shell_completion import get_completion_class

    from cachewarm.cli.main import app

    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter(f"{shell}: write bash, zsh or fish", param_hint="SHELL")
    click.echo(kind(app, {}, "fastocsp", VARIABLE).source())
