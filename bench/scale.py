"""`make bench-scale`: the writer, cold edges, imports, revocations and CRLs at a million and more; goals and verdicts.

Each part seeds what it needs in servers of its own and takes minutes; --only runs one of them, --small a tenth. Where
no signature is needed inventories are synthetic. The verdicts mean something on a quiet machine of two cores only.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench import scale_confirmation, scale_edge, scale_footprint, scale_streams, scale_writer
from bench.machine import stamp
from bench.scale_rows import Row

RESULTS = Path(__file__).parent / "scale.json"


def cold_edge(small: bool) -> list[Row]:
    """Measure how soon a restarted edge answers from its table again, and one that starts for the first time."""
    records = 200_000 if small else 2_000_000
    return [
        row
        for has_usage in (True, False)
        for row in scale_edge.cold_edge(records, asked=20 * records, has_usage=has_usage)
    ]


def streams(small: bool) -> list[Row]:
    """Measure imports, bulk revocation, CRLs of a million entries and the start of commands."""
    del small  # the goals are about these sizes
    with scale_streams.ledger() as at:
        measured = [
            *scale_streams.imports(at),
            *scale_streams.starts(at),
            *scale_streams.bulk(at),
            *scale_streams.crls(at),
        ]
    return [row.line() for row in measured]


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "writer": scale_writer.measure,
    "cold edge": cold_edge,
    "streams": streams,
    "footprint": scale_footprint.measure,
    "confirmation": scale_confirmation.measure,
}


def main() -> None:
    """Measure, print each row with its verdict, write scale.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part; nothing is written")
    parser.add_argument("--small", action="store_true", help="a tenth of the size, to try it; nothing is written")
    given = parser.parse_args()
    rows: dict[str, list[Row]] = {}
    for part in [given.only] if given.only else PARTS:
        print(f"measuring: {part}", file=sys.stderr)
        rows[part] = PARTS[part](given.small)
        for row in rows[part]:
            print(f"| {row.name} | {row.goal} | {row.value} | {'met' if row.holds else 'missed'} |", flush=True)
    if not given.only and not given.small:
        found = {part: [row._asdict() for row in measured] for part, measured in rows.items()}
        RESULTS.write_text(json.dumps({**stamp(), "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
