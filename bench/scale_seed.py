"""A synthetic inventory, straight by SQL, with the ledger's triggers off where they would only cost time."""

import asyncpg

_CERTIFICATES = """
insert into certificates (issuer_id, serial_number, subject, not_before, not_after, status, entered)
  select $1, '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), '', now() - interval '1 day',
         now() + interval '1 day' + random() * interval '89 days', case when n <= $4 then 'revoked' else 'good' end,
         {entered}
    from generate_series($2::int, $3::int) n"""
_REVOCATIONS = """
insert into certificate_revocations (issuer_id, serial_number, revoked_at, reason)
  select $1, '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), now() - interval '1 hour', 1
    from generate_series(1, $2::int) n"""


async def seed(owner_url: str, issuer_id: str, certificates: int, revoked: int, *, new: bool = False) -> None:
    """Enter that many certificates of an issuer that exists, and revoke the first ones; then collect statistics.

    `new`: a warmer that runs notices them.
    """
    sql = _CERTIFICATES.format(entered="pg_current_xact_id()" if new else "null")
    owner = await asyncpg.connect(owner_url)
    try:
        for table in ("certificates", "certificate_revocations"):
            await owner.execute(f"alter table {table} disable trigger user")
        for first in range(1, certificates + 1, 250_000):
            await owner.execute(sql, issuer_id, first, min(first + 249_999, certificates), revoked)
        await owner.execute(_REVOCATIONS, issuer_id, revoked)
        for table in ("certificates", "certificate_revocations"):
            await owner.execute(f"alter table {table} enable trigger user")
            await owner.execute(f"vacuum analyze {table}")
    finally:
        await owner.close()
