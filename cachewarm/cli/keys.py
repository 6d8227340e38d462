"""`fastocsp keys`: the private keys of this host's files: what protects them, sealed again, taken out.

Exit status: 0 done, 1 failed, 2 usage. Passphrases come from files or are asked for, never from the command line.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from cachewarm.cli.options import AsJson, DataDir, settings_of
from cachewarm.cli.parameters import Argument, Group, Option
from cachewarm.console import reported, say, show, show_rows
from cachewarm.errors import Refused
from responder.secret_files import read_secret_text

if TYPE_CHECKING:
    from cachewarm.config import Settings
    from cachewarm.keys.rewrap import Rewrapped

app = Group(help="Private keys in files.")

Files = Annotated[
    list[Path] | None,
    Argument(metavar="[FILE]...", help="Key files; without any, those of the key folder and CA_KEY_PATH."),
]


@app.command("list")
def list_command(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show the key files of this host and how each is protected."""
    from cachewarm.keys.rewrap import form_of

    with reported():
        settings = settings_of(data_dir)
        rows = [{"file": str(path), "form": form_of(path).value} for path in _files(settings, None)]
        if not rows:
            say(f"there are no key files in {settings.keys}")
        show_rows(rows, as_json=as_json, name="keys")


@app.command("rewrap")
def rewrap_command(
    files: Files = None,
    *,
    old_passphrase_file: Annotated[
        Path | None,
        Option(
            "--old-passphrase-file",
            metavar="FILE",
            help="The passphrase before, for files that CONFIG_ENCRYPTION_KEY does not open.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Open every file and say what would be done.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Seal key files under CONFIG_ENCRYPTION_KEY. It can be stopped and run again at any point."""
    from cachewarm.keys.rewrap import Outcome, rewrap

    with reported():
        settings = settings_of(data_dir)
        if settings.passphrase is None:
            raise Refused("set FASTOCSP_CONFIG_ENCRYPTION_KEY, or FASTOCSP_CONFIG_ENCRYPTION_KEY_FILE, first")
        before = None if old_passphrase_file is None else read_secret_text(old_passphrase_file).encode()
        done = rewrap(_files(settings, files), settings.passphrase, before, dry_run=dry_run)
        show_rows([_row(each, dry_run=dry_run) for each in done], as_json=as_json, name="keys")
        failed = [each for each in done if each.outcome is Outcome.FAILED]
        for each in failed:
            say(each.problem)
        if failed:
            raise Refused(f"{len(failed)} of {len(done)} key files are not under today's passphrase")


@app.command("export")
def export_command(
    file: Annotated[Path, Argument(metavar="FILE", help="A key file of this installation.")],
    *,
    out: Annotated[Path, Option("--out", metavar="FILE", help="PEM file to write; it must not exist.")],
    passphrase_file: Annotated[
        Path | None,
        Option("--passphrase-file", metavar="FILE", help="Its passphrase; else asked for.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a key as encrypted PKCS#8 for another program, openssl for example."""
    from cachewarm.keys.key_file import write_new
    from cachewarm.keys.soft_key import SoftKey

    with reported():
        try:
            key = SoftKey.load(file, settings_of(data_dir).passphrase)
        except OSError as error:
            raise Refused(f"{file} cannot be read: {error.strerror or error}") from error
        if passphrase_file is not None:
            passphrase = read_secret_text(passphrase_file)
        elif sys.stdin.isatty():
            passphrase = click.prompt("Passphrase of the file", hide_input=True, confirmation_prompt=True, err=True)
        else:
            raise click.BadParameter("name a file with the passphrase", param_hint="--passphrase-file")
        try:
            write_new(out, key.to_pem(passphrase.encode()))
        except FileExistsError as error:
            raise Refused(f"{out} exists already: nothing is overwritten") from error
        show({"key": str(file), "written": str(out)}, as_json=as_json)


def _files(settings: "Settings", named: list[Path] | None) -> list[Path]:
    from cachewarm.keys.rewrap import key_files

    if named:
        return named
    found = key_files(settings.keys)
    if settings.ca_keys != settings.keys:
        found += key_files(settings.ca_keys)
    if settings.ca_key_path is not None and settings.ca_key_path not in found:
        found.append(settings.ca_key_path)
    return found


def _row(done: "Rewrapped", *, dry_run: bool) -> dict[str, str]:
    from cachewarm.keys.rewrap import Outcome

    would = dry_run and done.outcome is Outcome.SEALED
    return {"file": str(done.path), "form": done.form.value, "result": "would be sealed" if would else done.outcome}
