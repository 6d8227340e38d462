"""`python -m tests.cachewarm.crl.build_for_ever URL`: processes that build the CRLs of issuer `ca` until killed.

Each line on standard input starts one; its pid is printed, and its exit status once it has ended.
"""

import asyncio
import os
import sys

from cachewarm.crl.regenerate import regenerate
from cachewarm.crl.sign_and_check import Rules
from cachewarm.ledger.connect import connect
from cachewarm.ledger.issuers import require_issuer


async def build(url: str) -> None:
    """Until killed."""
    connection = await connect(url)
    issuer = await require_issuer(connection, "ca")
    while True:
        await regenerate(connection, issuer, None, Rules(validity_s=86400))


def main(url: str) -> None:
    """One builder after the other, each a fork of what has imported everything."""
    told = os.dup(1)
    os.dup2(2, 1)  # log lines are for people
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            asyncio.run(build(url))
        os.write(told, b"%d\n" % pid)
        os.write(told, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main(sys.argv[1])
