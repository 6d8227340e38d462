"""Numbers of the ledger are refused while every encoding that carries them still has room."""

import asyncpg
import pytest

from _fastocsp.ocsp.record import MAX_GENERATION
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuers import Issuer

LAST_GENERATION = 16_000_000
LAST_CRL_NUMBER = 1 << 158


async def test_a_generation_above_the_bound_is_refused_and_changes_nothing(writer: Connection) -> None:
    """The bound itself, what a record cannot carry, what int8 cannot, nothing, and less than nothing."""
    before = await writer.fetchval("select generation from feed_position")
    for above in (LAST_GENERATION, MAX_GENERATION, 2**63 - 1, -1, None):
        with pytest.raises(asyncpg.NumericValueOutOfRangeError, match="generation"):
            await writer.fetchval("select feed_begin_generation($1)", above)
    assert await writer.fetchval("select generation from feed_position") == before


async def test_the_last_generation_leaves_room_for_promotions(writer: Connection, owner: Connection) -> None:
    """A promotion still begins one, and records carry it."""
    assert await writer.fetchval("select feed_begin_generation($1)", LAST_GENERATION - 1) == LAST_GENERATION
    await owner.execute("update feed_head set tli = '00000000'")
    assert await owner.fetchval("select (feed_current_head()).generation") == LAST_GENERATION + 1 < MAX_GENERATION


@pytest.mark.parametrize("column", ["generation", "seq"])
async def test_the_head_of_the_feed_never_leaves_what_a_record_carries(owner: Connection, column: str) -> None:
    """Not even by the owner's hand."""
    last = MAX_GENERATION if column == "generation" else (1 << 48) - 1
    await owner.execute(f"update feed_head set {column} = $1", last)
    with pytest.raises(asyncpg.CheckViolationError, match=f"feed_head_{column}_fits"):
        await owner.execute(f"update feed_head set {column} = $1", last + 1)


@pytest.mark.parametrize("number", [str(LAST_CRL_NUMBER + 1), str(1 << 160), "-1", "1.5", "NaN", None])
async def test_a_crl_number_without_room_is_refused(writer: Connection, issuer: Issuer, number: str | None) -> None:
    """The next one is what it would have been."""
    assert await writer.fetchval("select next_crl_number('ca')") == 1
    with pytest.raises(asyncpg.NumericValueOutOfRangeError, match="CRL number"):
        await writer.fetchval("select raise_crl_number('ca', $1::text::numeric)", number)
    assert await writer.fetchval("select next_crl_number('ca')") == 2


async def test_crl_numbers_go_on_behind_the_highest_that_is_taken(writer: Connection, issuer: Issuer) -> None:
    """Over a promotion too, which leaves a million out."""
    await writer.fetchval("select raise_crl_number('ca', $1::text::numeric)", str(LAST_CRL_NUMBER))
    assert await writer.fetchval("select next_crl_number('ca')") == LAST_CRL_NUMBER + 1
    await writer.fetchval("select feed_begin_generation(0)")
    assert await writer.fetchval("select next_crl_number('ca')") == LAST_CRL_NUMBER + 1 + (1 << 20)


async def test_a_crl_number_at_the_end_of_its_encoding_is_an_error_with_a_reason(
    writer: Connection, issuer: Issuer
) -> None:
    """As a CRL of another CA may bring it."""
    await writer.execute(
        "insert into crl_generation_events (issuer_id, succeeded, crl_number) values ('ca', true, $1::text::numeric)",
        str((1 << 159) - 1),
    )
    with pytest.raises(asyncpg.NumericValueOutOfRangeError, match="20 bytes"):
        await writer.fetchval("select next_crl_number('ca')")


@pytest.mark.parametrize("horizon", ["1 second", "0", "-1 minute", "61 minutes", "1000 years", None])
async def test_a_horizon_out_of_bounds_is_refused(writer: Connection, horizon: str | None) -> None:
    """The one there is stays."""
    with pytest.raises(asyncpg.NumericValueOutOfRangeError, match="horizon"):
        await writer.execute("select feed_set_horizon($1::text::interval)", horizon)
    assert (await writer.fetchval("select horizon from feed_settings")).total_seconds() == 30
