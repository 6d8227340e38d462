"""`fastocsp ca freeze` and `ca thaw`; and what to start when a CA is there and nothing can sign for it."""

from typing import TYPE_CHECKING, Annotated, Any

from cachewarm.cli.options import AsJson, DataDir, actor_name, run_with_ledger, settings_of
from cachewarm.cli.parameters import Argument
from cachewarm.console import reported, say, show

if TYPE_CHECKING:
    from pathlib import Path

    from cachewarm.config import Settings

IssuerId = Annotated[str, Argument(metavar="ISSUER_ID", help="The CA, whose key is here.")]


def freeze_command(issuer_id: IssuerId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop a CA, and the CAs below it, from issuing certificates. Answers, CRLs and responders go on."""
    from cachewarm.ledger.issuer_states import FROZEN

    _change(issuer_id, FROZEN, data_dir, as_json=as_json)


def thaw_command(issuer_id: IssuerId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let a frozen CA issue again."""
    from cachewarm.ledger.issuer_states import ACTIVE

    _change(issuer_id, ACTIVE, data_dir, as_json=as_json)


def _change(issuer_id: str, state: str, data_dir: "Path | None", *, as_json: bool) -> None:
    import asyncio

    from cachewarm.ledger.issuer_states import set_state
    from cachewarm.ledger.issuers import require_issuer

    async def act(connection: Any) -> dict[str, Any]:
        wanted = (await require_issuer(connection, issuer_id)).issuer_id
        changed = await set_state(connection, wanted, state, actor=actor_name())
        return {"issuer_id": wanted, "state": state, "changed": changed}

    with reported():
        done = asyncio.run(run_with_ledger(settings_of(data_dir), act, name="fastocsp ca"))
        say(f"{done['issuer_id']} is {state}" if done["changed"] else f"{done['issuer_id']} was {state} before")
        show(done, as_json=as_json)


def say_what_to_start(settings: "Settings") -> None:
    """Print that the CA signer must be started, when none runs: a CA was made whose key is not in use."""
    from cachewarm.ca_signer.client import CASigner
    from cachewarm.errors import SignerUnavailable

    if settings.ca_signer_socket is None:
        return
    try:
        CASigner(settings.ca_signer_socket).faults()
    except SignerUnavailable:
        say("to issue certificates and CRLs: start `fastocsp ca-signer` and `fastocsp warm` on this host")
