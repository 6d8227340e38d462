"""Which warmers run on this ledger, so that they share the work.

Each holds an advisory lock, named by its session, on one connection: it ends with the session, however that ends. Any
login can take such locks, so only those of writers' sessions count, each under its own number, and none is waited for.
"""

from cachewarm.ledger.connect import Connection, translated

_CLASS = 0x0C5B


async def take_place(connection: Connection) -> None:
    """Be counted among the warmers until the connection ends."""
    with translated():
        await connection.execute("select pg_try_advisory_lock_shared($1, pg_backend_pid())", _CLASS)


async def place(connection: Connection) -> tuple[int, int]:
    """Return this warmer's place among those that run, from 0, and how many there are."""
    with translated():
        pids: list[int] = await connection.fetchval(
            """select coalesce(array_agg(distinct l.pid order by l.pid), '{}')
                 from pg_locks l join pg_stat_activity a using (pid)
                where l.locktype = 'advisory' and l.classid = $1::int and l.objid = l.pid and l.objsubid = 2
                  and l.granted
                  and l.database = (select oid from pg_database where datname = current_database())
                  and pg_has_role(a.usesysid, 'fastocsp_writer', 'member')""",
            _CLASS,
        )
    ours = connection.get_server_pid()
    return (pids.index(ours), len(pids)) if ours in pids else (0, 1)
