"""`fastocsp issuer remove` and `issuer restore`: end answering for an issuer, and begin again."""

from typing import Annotated, Any

from cachewarm.cli.options import AsJson, DataDir, actor_name, settings_of, with_ledger
from cachewarm.cli.parameters import Argument, Option
from cachewarm.console import reported, say, show
from cachewarm.errors import Refused

IssuerId = Annotated[str, Argument(metavar="ISSUER_ID")]
Force = Annotated[bool, Option("--force", help="Even if it has valid certificates: their status is not answered then.")]


def remove_command(
    issuer_id: IssuerId, force: Force = False, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """End answering for an issuer: no OCSP answers, no CRLs, no signatures. `issuer restore` undoes it.

    Refused while it has certificates that are valid and not revoked, unless --force is given. Its rows stay.
    """
    from cachewarm.ledger.issuer_states import remove

    async def act(connection: Any) -> bool:
        try:
            return await remove(connection, issuer_id, force=force, actor=actor_name())
        except Refused as error:
            if "certificates that are valid" not in str(error):
                raise
            raise Refused(f"{error}; revoke them first, or pass --force") from error

    with reported():
        changed = with_ledger(settings_of(data_dir), act)
        say(f"{issuer_id} is removed" if changed else f"{issuer_id} was removed before")
        show({"issuer_id": issuer_id, "state": "removed", "changed": changed}, as_json=as_json)


def restore_command(issuer_id: IssuerId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Answer for a removed issuer again. It is frozen then: `ca thaw` lets it issue."""
    from cachewarm.ledger.issuer_states import restore

    async def act(connection: Any) -> bool:
        return await restore(connection, issuer_id, actor=actor_name())

    with reported():
        changed = with_ledger(settings_of(data_dir), act)
        say(f"{issuer_id} is answered for again; it is frozen" if changed else f"{issuer_id} was not removed")
        show({"issuer_id": issuer_id, "changed": changed}, as_json=as_json)
