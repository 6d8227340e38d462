"""The state of each issuer's CRL, as the admin listener and `fastocsp crl list --json` show it. Read only."""

from datetime import datetime
from typing import Any

from cachewarm.ledger.connect import Connection
from cachewarm.ledger.crl_states import cached_crls


async def cache_rows(connection: Connection) -> dict[str, Any]:
    """Return {cache_rows: [...], row_count, generated_at}; issuers without a CRL have `cache_present` false."""
    now, found = await cached_crls(connection)
    return {"cache_rows": [_row(row) for row in found], "row_count": len(found), "generated_at": now.isoformat()}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    number, events = row["crl_number"], row["recent_events"]
    for event in events:
        event["crl_number"] = None if event["crl_number"] is None else int(event["crl_number"])
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    return plain | {"crl_number": None if number is None else int(number), "recent_events": events}
