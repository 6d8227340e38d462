"""Four builds that lie, for the checker to find: `python -m tests.faults.broken BUILD PROGRAM` runs a program of the
product with one safety taken out; what sits in the ledger is taken out of a test's database by SQL.

Nothing of this can be switched on in the product: it has no such settings.
"""

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence

import asyncpg

from cachewarm.quickstart import child
from responder.clock import Instant, read_clock
from responder.config import EdgeSettings, load_settings
from responder.feed import machine
from responder.feed.machine import Effect, FeedMachine, PollReply
from responder.forks import ForkedProcess
from responder.hotpath.gate import Gate
from responder.master import WORKER, Master
from responder.worker import worker

LEASE_FROM_RECEIPT, GATE_OFF, FIRST_LEASE, SEQUENCE_CURSOR = (
    "lease from receipt",
    "gate off",
    "first poll gives a lease",
    "sequence cursor",
)
_PASS = 1
#: In the order of the vtable: gate.pxd declares check first.
_CHECK = 0
_kept: list[object] = []


def lease_from_receipt() -> None:
    """The lease starts when the answer has come, not when the question went out."""
    sound = FeedMachine._lease_from

    def from_receipt(self: FeedMachine, asked: Instant, answer: PollReply) -> list[Effect]:
        return sound(self, read_clock(), answer)

    FeedMachine._lease_from = from_receipt  # type: ignore[method-assign]


def gate_off() -> None:
    """The workers are started through this module, and their gate lets everything pass."""
    sound = Master.start_module

    async def start(master: Master, module: str, words: Sequence[str], environ: Mapping[str, str]) -> ForkedProcess:
        if module == WORKER:
            module, words = "tests.faults.broken", [GATE_OFF, "worker", *words]
        return await sound(master, module, words, environ)

    Master.start_module = start  # type: ignore[method-assign, assignment]


def open_gate() -> None:
    """Replace the compiled `check` in Gate's table of C functions, for the hot lane as for the others."""
    kind = ctypes.PYFUNCTYPE(
        ctypes.c_int, ctypes.py_object, ctypes.c_uint16, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
    )
    always = kind(lambda *_: _PASS)
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(get(Gate.__dict__["__pyx_vtable__"], None), ctypes.POINTER(ctypes.c_void_p))
    table[_CHECK] = ctypes.cast(always, ctypes.c_void_p)
    _kept.append(always)


def sequence_cursor() -> None:
    """Rows are taken as they come, gaps and all."""
    machine.follows = lambda row, seq, chain: True


IN_PROCESSES: dict[str, Callable[[], None]] = {
    LEASE_FROM_RECEIPT: lease_from_receipt,
    GATE_OFF: gate_off,
    SEQUENCE_CURSOR: sequence_cursor,
}

#: Numbers come from a sequence and nobody waits for anybody; the head is the highest number that is committed. There
#: is no chain, as it needs an order; the audit chain takes the same lock and is left out. Without
#: a chain no place is a witness.
_SEQUENCE_CURSOR = r"""
create sequence feed_numbers;
select setval('feed_numbers', (select seq from feed_head));
alter table feed_head rename to feed_head_row;
create view feed_head as
  select one, generation, sysid, tli, coalesce((select max(seq) from revocation_events), base) as seq,
  '\x00'::bytea as chain, base, '\x00'::bytea as base_chain from feed_head_row;
update feed_head_row set base = seq;
update feed_home set relation = 'feed_head'::regclass::oid::bigint;
delete from revocation_events;
create or replace view feed_position as
  select h.generation, h.sysid, h.tli, h.seq, h.chain, h.base, s.horizon from feed_head h, feed_settings s;
grant select on feed_head to public;
create or replace function ledger_lock() returns void language plpgsql as $$ begin end $$;
create or replace function audit_append_rows(entries audit_entry[]) returns bigint language sql as $$ select 0::int8 $$;
create or replace function feed_append(items bytea[]) returns void language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if coalesce(cardinality(items), 0) > 0 then
    insert into revocation_events
      select nextval('feed_numbers'), '\x00', clock_timestamp(), cardinality(items), string_agg(x, ''::bytea order by o)
        from unnest(items) with ordinality u(x, o);
  end if;
end $$;
create or replace function feed_witness(p_edge text, p_verdict text, p_generation bigint, p_gen bigint, p_seq bigint,
                                        p_chain bytea) returns void language sql as $$ select $$;
drop function feed_current_head() cascade;
create function feed_current_head() returns feed_head language sql
  set search_path = pg_catalog, public, pg_temp as $$ select * from feed_head $$;
"""
IN_LEDGER = (FIRST_LEASE, SEQUENCE_CURSOR)
#: What of feed_poll knows a first poll, and what does not.
_KNOWS_FIRST, _KNOWS_NONE = "not (l.leased and l.boot = p_boot)", "false"


async def break_ledger(connection: "asyncpg.Connection[asyncpg.Record]", build: str) -> None:
    """Take it out of this database."""
    if build == SEQUENCE_CURSOR:
        await connection.execute(_SEQUENCE_CURSOR)
        return
    sound = await connection.fetchval("select pg_get_functiondef('feed_poll'::regproc)")
    broken = sound.replace(_KNOWS_FIRST, _KNOWS_NONE)
    assert broken != sound
    await connection.execute(broken)


def main() -> None:
    """One program of that build: BUILD PROGRAM WORDS."""
    build, program, *words = sys.argv[1:]
    if program == "worker":
        open_gate()
        slot, table_fd, parent = map(int, words)
        worker.run_worker(load_settings(EdgeSettings, instance=False), slot, table_fd, parent)
    IN_PROCESSES[build]()
    child.run(program)


if __name__ == "__main__":
    main()
