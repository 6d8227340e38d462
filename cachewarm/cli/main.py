"""The command `fastocsp`: each subcommand's module is loaded when it is asked for, so that `--help` is quick."""

import gc
import importlib
from typing import Any

import click
from click.shell_completion import CompletionItem

from cachewarm.cli.parameters import make_command
from cachewarm.cli.streams import open_standard_streams, written_out

#: Container objects that a command makes before the garbage collector looks at them: imports make tens of thousands.
GC_THRESHOLD = 100_000
#: name: (module, attribute, one line)
COMMANDS = {
    "quickstart": ("serve", "quickstart", "Run everything on this machine, with a demo CA."),
    "serve": ("serve", "serve", "Run the edge: answers OCSP and CRL requests, holds no key."),
    "ca-signer": ("serve", "ca_signer", "Run the CA signer: the one process that uses the keys of CAs."),
    "signer": ("serve", "signer", "Run the live signer on its Unix socket."),
    "warm": ("serve", "warm", "Run the warmer: signs ahead, renews, publishes, makes CRLs."),
    "admin": ("serve", "admin", "Run the private admin listener."),
    "revoke": ("revoke", "revoke", "Revoke a certificate, and wait until every edge knows."),
    "unhold": ("revoke", "unhold", "Release a certificate from certificateHold."),
    "bulk-revoke": ("bulk_revoke", "bulk_revoke", "Revoke the serial numbers of a file."),
    "ca": ("ca", "app", "The local CA: init, complete, issue, freeze, thaw, show."),
    "issuer": ("issuer", "app", "Issuers that are answered for: add, add-cert, list, show, remove, restore."),
    "import": ("import_", "app", "Take over the inventory and the revocations of another CA."),
    "crl": ("crl", "app", "CRLs: list, show, generate, fetch, verify."),
    "edge": ("edge", "app", "Edges and their logins: add, list, remove, horizon, orphans."),
    "orphans": ("orphans", "app", "Revocations that the ledger lost: list, confirm, dismiss, limit."),
    "audit": ("audit", "app", "The audit chain: list, verify, export."),
    "reconcile": ("reconcile", "reconcile", "Close the gap that a restore left, and lift the fence of issuers."),
    "keys": ("keys", "app", "Private keys in files: list, rewrap, export."),
    "backup": ("backup", "app", "Archives of ledger, keys and settings: create, verify, list."),
    "restore": ("restore", "restore", "Bring an archive back into an empty folder or server."),
    "db": ("db", "app", "The ledger's schema and logins: migrate, roles, restored, status."),
    "status": ("status", "status", "What runs, how fresh it is, what it covers."),
    "check-config": ("status", "check_config", "Every problem of the settings at once."),
    "completion": ("completion", "completion", "Print a script that completes commands and options in a shell."),
}


class LazyGroup(click.Group):
    """Loads a subcommand when it is named."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command; a misspelt one is refused with the names that are near."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from error

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Return the commands that begin so, without loading any."""
        return [
            CompletionItem(name, help=text) for name, (_, _, text) in COMMANDS.items() if name.startswith(incomplete)
        ]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """In the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, name: str) -> Any:  # noqa: ARG002
        """The command, its module imported now."""
        if name not in COMMANDS:
            return None
        module, attribute, text = COMMANDS[name]
        target = getattr(importlib.import_module(f"cachewarm.cli.{module}"), attribute)
        command = target if isinstance(target, click.Command) else make_command(target, name)
        command.name, command.help, command.short_help = name, command.help or text, text
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """One line each, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"fastocsp {version('fastocsp')}")
        except PackageNotFoundError:
            click.echo("fastocsp, not installed")
        ctx.exit()


VERSION = click.Option(
    ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version."
)
app = LazyGroup(
    "fastocsp", params=[VERSION], no_args_is_help=True, help="An OCSP and CRL edge responder whose cache cannot lie."
)


def main(arguments: list[str] | None = None) -> Any:
    """Exit status: 0 done, 1 failed, 2 usage."""
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
    open_standard_streams()
    try:
        with written_out():
            return app(arguments)
    finally:
        gc.freeze()  # the process ends: its last collection need not look at every module


if __name__ == "__main__":
    main()
