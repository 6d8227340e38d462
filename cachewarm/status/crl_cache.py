"""How it stands with each issuer's CRL, as the admin listener and `fastocsp crl list --json` say it. Read only."""

import json
from datetime import datetime
from typing import Any

from cachewarm.ledger.connect import Connection, translated

EVENTS = 5

# One statement: all rows are of one moment. An event is a build, or a fetch of a mirrored CRL.
_ROWS = f"""
select i.issuer_id, c.issuer_id is not null as cache_present, c.crl_number::text as crl_number, c.this_update,
       c.next_update, c.generated_at, c.generation_duration_ms, c.revoked_count,
       c.next_update is not null and c.next_update <= now() as is_stale,
       coalesce((select jsonb_agg(e order by e.started_at desc) from (
         select kind, started_at, succeeded, error, duration_ms, crl_number::text as crl_number, revoked_count
           from crl_generation_events g where g.issuer_id = i.issuer_id order by g.started_at desc, g.id desc
          limit {EVENTS}) e), '[]')::text as recent_events
  from issuers i left join crl_cache c using (issuer_id) order by i.issuer_id
"""  # noqa: S608 - our own constant


async def cache_rows(connection: Connection) -> dict[str, Any]:
    """{cache_rows: [...], row_count, generated_at}; issuers without a CRL have `cache_present` false."""
    with translated():
        found = await connection.fetch(_ROWS)
        now = await connection.fetchval("select now()")
    return {
        "cache_rows": [_row(dict(row)) for row in found],
        "row_count": len(found),
        "generated_at": now.isoformat(),
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    number, events = row["crl_number"], json.loads(row["recent_events"])
    for event in events:
        event["crl_number"] = None if event["crl_number"] is None else int(event["crl_number"])
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    return plain | {"crl_number": None if number is None else int(number), "recent_events": events}
