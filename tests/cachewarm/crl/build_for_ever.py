"""`python -m tests.cachewarm.crl.build_for_ever URL`: build the CRLs of issuer `ca` until killed."""

import asyncio
import sys

from cachewarm.crl.regenerate import regenerate
from cachewarm.crl.sign_and_check import Rules
from cachewarm.ledger.connect import connect
from cachewarm.ledger.issuers import require_issuer


async def main(url: str) -> None:
    """Until killed."""
    connection = await connect(url)
    issuer = await require_issuer(connection, "ca")
    while True:
        await regenerate(connection, issuer, None, Rules(validity_s=86400))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
