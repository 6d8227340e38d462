"""Which warmers run on this ledger, so that they share the work.

Each holds an advisory lock, named by its session, on one connection: it ends with the session, however that ends.
"""

from cachewarm.ledger.connect import Connection, translated

_CLASS = 0x0C5B


async def take_place(connection: Connection) -> None:
    """Be counted among the warmers until the connection ends."""
    with translated():
        await connection.execute("select pg_advisory_lock_shared($1, pg_backend_pid())", _CLASS)


async def place(connection: Connection) -> tuple[int, int]:
    """Return this warmer's place among those that run, from 0, and how many there are."""
    with translated():
        pids: list[int] = await connection.fetchval(
            """select coalesce(array_agg(distinct objid::int order by objid::int), '{}') from pg_locks
                where locktype = 'advisory' and classid = $1::int and objsubid = 2 and granted
                  and database = (select oid from pg_database where datname = current_database())""",
            _CLASS,
        )
    ours = connection.get_server_pid()
    return (pids.index(ours), len(pids)) if ours in pids else (0, 1)
