"""The command `fastocsp`: each subcommand's module is loaded when it is asked for, so that `--help` is quick."""

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

#: name: (module, attribute, one line)
COMMANDS = {
    "quickstart": ("serve", "quickstart", "Run everything on this machine, with a demo CA."),
    "serve": ("serve", "serve", "Run the edge: answers OCSP and CRL requests, holds no key."),
    "signer": ("serve", "signer", "Run the live signer on its Unix socket."),
    "warm": ("serve", "warm", "Run the warmer: signs ahead, renews, publishes, makes CRLs."),
    "admin": ("serve", "admin", "Run the private admin listener."),
    "revoke": ("revoke", "revoke", "Revoke a certificate, and wait until every edge knows."),
    "unhold": ("revoke", "unhold", "Release a certificate from certificateHold."),
    "bulk-revoke": ("bulk_revoke", "bulk_revoke", "Revoke the serial numbers of a file."),
    "ca": ("ca", "app", "The local CA: init, issue, show."),
    "issuer": ("issuer", "app", "Issuers whose certificates are answered for: add, add-cert, list, show."),
    "import": ("import_", "app", "Take over the inventory and the revocations of another CA."),
    "crl": ("crl", "app", "CRLs: list, show, generate, fetch, verify."),
    "edge": ("edge", "app", "Edges as the ledger knows them: list, horizon, forget, orphans."),
    "orphans": ("orphans", "app", "Revocations that the ledger lost: list, confirm, dismiss, limit."),
    "keys": ("keys", "app", "Private keys in files: list, rewrap, export."),
    "db": ("db", "app", "The ledger's schema: migrate, status."),
    "status": ("status", "status", "What runs, how fresh it is, what it covers."),
    "check-config": ("status", "check_config", "Every problem of the settings at once."),
}


class LazyGroup(TyperGroup):
    """Loads a subcommand when it is named."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """In the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, name: str) -> Any:  # noqa: ARG002
        """The command, its module imported now."""
        if name not in COMMANDS:
            return None
        module, attribute, text = COMMANDS[name]
        target = getattr(importlib.import_module(f"cachewarm.cli.{module}"), attribute)
        if isinstance(target, typer.Typer):
            target.rich_markup_mode = None  # rich takes a third of the time of --help
            command = typer.main.get_command(target)
        else:
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command()(target)
            command = typer.main.get_command(alone)
        command.name, command.help, command.short_help = name, command.help or text, text
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """One line each, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"fastocsp {version('fastocsp')}")
        except PackageNotFoundError:
            typer.echo("fastocsp, not installed")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")]


@app.callback()
def root(version: Version = False) -> None:
    """An OCSP and CRL edge responder whose cache cannot lie."""


def main(arguments: list[str] | None = None) -> Any:
    """Exit status: 0 done, 1 failed, 2 usage."""
    return app(arguments)


if __name__ == "__main__":
    main()
