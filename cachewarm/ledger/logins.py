"""The logins of the ledger: who each is for, and the statements that make them (`fastocsp db roles`).

Rights hang on groups without login: fastocsp_writer changes the ledger through its tables and functions,
fastocsp_reader reads its public part (0007), fastocsp_reads_all reads everything for backups (0031). A login is a
member of one of them, and each process has its own, so that the audit chain tells them apart. Making a login needs
CREATEROLE; a password leaves this process only as its verifier.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from cachewarm.errors import Refused
from cachewarm.ledger.connect import Connection, one_row, translated

WRITER, READER, BACKUP = "fastocsp_writer", "fastocsp_reader", "fastocsp_reads_all"
OWNER, CA_SIGNER = "fastocsp", "fastocsp_ca_signer"
_ITERATIONS = 4096
#: Postgres cuts names after 63 bytes.
_LONGEST_NAME = 63
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Connections that one edge or signer needs at most, with some to spare: it must not take them all.
READER_CONNECTIONS = 10


@dataclass(frozen=True, kw_only=True)
class Login:
    """One row of the catalogue; `name` holds NAME where there is one for each host."""

    name: str
    group: str | None
    may: str
    used_by: str


CATALOGUE: Sequence[Login] = (
    Login(name=OWNER, group=None, may="change the schema, make edges", used_by="fastocsp db, fastocsp edge add"),
    Login(name="fastocsp_warmer", group=WRITER, may="write through tables and functions", used_by="warmer"),
    Login(name="fastocsp_admin", group=WRITER, may="write through tables and functions", used_by="admin"),
    Login(name="fastocsp_cli", group=WRITER, may="write through tables and functions", used_by="commands"),
    Login(
        name=CA_SIGNER,
        group=READER,
        may="read issuers with the places of their keys, and states",
        used_by="CA signer",
    ),
    Login(
        name="fastocsp_edge_NAME",
        group=READER,
        may="poll for its own lease, read the public part",
        used_by="edge of that host",
    ),
    Login(name="fastocsp_signer_NAME", group=READER, may="read what signing needs", used_by="signer of that host"),
    Login(name="fastocsp_backup", group=BACKUP, may="read everything", used_by="fastocsp backup create"),
)
WRITERS = tuple(login.name for login in CATALOGUE if login.group == WRITER)


@dataclass(frozen=True, kw_only=True)
class NewLogin:
    """A login to be made. `edge`: the one that it speaks for; `is_ca_signer`: it may read what a CA signer needs."""

    name: str
    group: str
    password: str
    edge: str | None = None
    is_ca_signer: bool = False


def new_password() -> str:
    """Return a random password that needs no quoting anywhere."""
    return secrets.token_urlsafe(32)


def host_login(kind: str, name: str) -> str:
    """Return the login of a host's edge or signer; a long name is cut, and its hash keeps it apart from others."""
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise Refused(f"an edge is named by at most 100 letters, digits, dots, hyphens, underscores, not {name!r}")
    login = f"fastocsp_{kind}_{name}"
    if len(login) <= _LONGEST_NAME:
        return login
    return f"{login[: _LONGEST_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def of_host(name: str, *, signer: bool = True) -> list[NewLogin]:
    """Return the logins of a host's edge and its signer, with new passwords."""
    logins = [NewLogin(name=host_login("edge", name), group=READER, password=new_password(), edge=name)]
    if signer:
        logins.append(NewLogin(name=host_login("signer", name), group=READER, password=new_password()))
    return logins


def of_processes() -> list[NewLogin]:
    """Return the logins that no edge host has of its own, of warmer, admin, commands, CA signer and backup.

    Their passwords are new.
    """
    return [
        NewLogin(name=login.name, group=login.group, password=new_password())
        for login in CATALOGUE
        if login.group is not None and (login.group in (WRITER, BACKUP) or login.name == CA_SIGNER)
    ]


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """Return what Postgres keeps of a password (RFC 5803), so that no statement and no log ever holds it.

    The password must be ASCII: SASLprep then leaves it as it is (RFC 4013).
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored, server, salted_text = (
        base64.b64encode(octets).decode() for octets in (hashlib.sha256(client_key).digest(), server_key, salt)
    )
    return f"SCRAM-SHA-256${_ITERATIONS}:{salted_text}${stored}:{server}"


def login_statements(login: NewLogin) -> list[str]:
    """Return the statements that make the login, or give it a new password."""
    words = f"login password '{scram_verifier(login.password)}'"
    if login.group == READER:
        words += f" connection limit {READER_CONNECTIONS}"
    return [
        f'do $$ begin if to_regrole(\'"{login.name}"\') is null then create role "{login.name}" nologin;'
        " end if; end $$",
        f'grant {login.group} to "{login.name}"',
        f'alter role "{login.name}" {words}',
        f"alter role \"{login.name}\" set idle_in_transaction_session_timeout = '30s'",
    ]


def registration(login: NewLogin) -> list[str]:
    """Return the statements that let the login speak for its edge, or read what a CA signer needs."""
    made = [f"select edge_register('{login.edge}', '{login.name}', current_user)"] if login.edge else []
    return [*made, f"select ca_signer_register('{login.name}', current_user)"] if login.is_ca_signer else made


def groups_statements(owner: str) -> list[str]:
    """Return what a DBA runs once, before `fastocsp db migrate`: groups, and what the owner may see and end."""
    made = [
        f"do $$ begin if to_regrole('{name}') is null then create role {name} nologin; end if; end $$"
        for name in (WRITER, READER, BACKUP)
    ]
    return [
        *made,
        f'grant {WRITER}, {READER}, {BACKUP} to "{owner}" with admin option',
        f'grant pg_read_all_stats, pg_signal_backend to "{owner}"',
        "do $$ begin if to_regprocedure('public.grant_reading()') is not null then perform public.grant_reading();"
        " end if; end $$",
    ]


async def make_logins(connection: Connection, logins: Sequence[NewLogin]) -> None:
    """Make them, or give them their new passwords, all or none. Refused: this login lacks CREATEROLE."""
    with translated():
        async with connection.transaction():
            for login in logins:
                for statement in [*login_statements(login), *registration(login)]:
                    await connection.execute(statement)
                if login.group == BACKUP:
                    await connection.execute("select grant_reading()")


async def drop_login(connection: Connection, name: str) -> None:
    """Drop a login that owns nothing. Refused: this login lacks CREATEROLE."""
    with translated():
        await connection.execute(f'drop role if exists "{name}"')


async def known_logins(connection: Connection) -> dict[str, str]:
    """Return every login that is a member of one of the groups, with that group."""
    with translated():
        rows = await connection.fetch(
            """select r.rolname as login, g.rolname as of_group from pg_auth_members m
                 join pg_roles r on r.oid = m.member join pg_roles g on g.oid = m.roleid
                where g.rolname = any($1) and r.rolcanlogin order by r.rolname""",
            [WRITER, READER, BACKUP],
        )
    return {row["login"]: row["of_group"] for row in rows}


@dataclass(frozen=True, kw_only=True)
class LoginStanding:
    """The login of a connection: its groups of ours, and what it may do there."""

    login: str
    groups: tuple[str, ...]
    is_owner: bool
    is_standby: bool
    may_read_audit: bool


async def login_standing(connection: Connection) -> LoginStanding:
    """Return what this connection's login is to the ledger."""
    with translated():
        row = await one_row(
            connection,
            """select current_user::text as login, pg_is_in_recovery() as is_standby,
                      pg_has_role(c.relowner, 'member') as is_owner,
                      has_table_privilege('audit_head', 'select') as may_read_audit,
                      array(select g.rolname::text from pg_roles g
                             where g.rolname = any($1) and pg_has_role(g.oid, 'member')) as groups
                 from pg_class c where c.oid = 'issuers'::regclass""",
            [WRITER, READER],
        )
    return LoginStanding(**dict(row) | {"groups": tuple(row["groups"])})


def url_of(url: str, login: str, password: str) -> str:
    """Return the same database's URL for another login."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(login, safe='')}:{quote(password, safe='')}@{place}"))
