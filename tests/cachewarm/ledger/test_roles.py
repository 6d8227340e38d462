"""What reader and writer may do, over everything there is in the schema."""

import asyncpg
import pytest

from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuers import Issuer

TABLES = """select c.oid::regclass::text as name from pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'f', 'S')"""
FUNCTIONS = """select p.oid::regprocedure::text as signature, p.proname as name from pg_proc p
  where p.pronamespace = 'public'::regnamespace"""
RIGHTS = ("select", "insert", "update", "delete", "truncate", "references", "trigger")

READER_TABLES = {
    "crl_cache",
    "crl_parts",
    "crl_failures",
    "crl_fetch_failures",
    "crl_mirrors",
    "issuer_changes",
    "presign_coverage",
    "feed_position",
    "feed_snapshot",
    "feed_orphans",
    "certificate_inventory",
    "warmer_health",
}
READER_COLUMNS = {
    "issuer_faults": {"issuer_id", "work"},
    "issuers": {
        "state",
        "issuer_id",
        "issuer_no",
        "cert_der",
        "unissued_policy",
        "ocsp_url",
        "crl_url",
        "ca_issuers_url",
        "publishes_crl",
        "merged_into",
    },
    "certificates": {"issuer_id", "serial_number", "not_after", "status"},
    "ocsp_responder_certs": {
        "issuer_id",
        "cert_subject",
        "serial_number",
        "not_before",
        "not_after",
        "created_at",
        "cert_der",
    },
}
WRITER_TABLES = {
    "crl_parts",
    "crl_bases",
    "issuers",
    "certificates",
    "certificate_revocations",
    "ocsp_responder_certs",
    "crl_cache",
    "crl_generation_events",
    "presign_coverage",
    "warmer_cursor",
    "issuer_faults",
    "crl_turns",
    "warmer_heartbeats",
}
WRITER_READS = {
    "certificate_inventory",
    "warmer_health",
    "crl_changes",
    "crl_failures",
    "crl_fetch_failures",
    "schema_migrations",
    "feed_position",
    "feed_snapshot",
    "feed_settings",
    "feed_head",
    "revocation_events",
    "edge_lease",
    "audit_events",
    "audit_head",
    "crl_numbers",
    "poll_refusals",
    "crl_carried",
    "feed_orphans",
    "orphans",
    "orphan_reports",
    "orphan_reporters",
    "orphan_evidence",
    "issuer_fences",
    "feed_witnesses",
}
WRITER_CALLS = {
    "issuer_remove",
    "issuer_restore",
    "audit_settle",
    "certificate_counts_fold",
    "orphans_settle",
    "orphans_from_crl",
    "orphans_set_limit",
    "orphan_confirm",
    "orphan_dismiss",
    "orphan_evidence_forget",
    "crl_vanished",
    "issuer_fence_cover",
    "issuer_fence_lift",
    "certificate_element",
    "certificate_not_after",
    "der_element",
    "issuer_identity",
    "crl_changes_forget",
    "crl_epoch",
    "is_serial_number",
    "feed_item",
    "feed_begin_generation",
    "feed_poll",
    "feed_unacked",
    "feed_horizon",
    "feed_set_horizon",
    "edge_remove",
    "edge_lapse",
    "ledger_holders",
    "ledger_end_holder",
    "readers_end_overdue",
    "crl_turn_take",
    "feed_trim",
    "audit_append",
    "audit_verify",
    "certificates_settle",
    "mirror_begin",
    "mirror_revoke",
    "next_crl_number",
    "raise_crl_number",
    "issuer_set_state",
    "issuer_require_issuance",
}


#: Answered to the login of a CA signer and to writers alone (tests/cachewarm/ca_signer).
CA_SIGNER_CALLS = {
    "ca_signer_issuers",
    "ca_signer_named",
    "ca_signer_certificates",
    "ca_signer_revoked",
    "ca_signer_crl_numbers",
}


async def rights(owner: Connection, role: str) -> dict[str, set[str]]:
    """Every table, view and sequence with the rights the role has on all of it."""
    found = {}
    for row in await owner.fetch(TABLES):
        sequence = row["name"].endswith("_seq")
        kinds = ("select", "update", "usage") if sequence else RIGHTS
        check = "has_sequence_privilege" if sequence else "has_table_privilege"
        found[row["name"]] = {
            kind for kind in kinds if await owner.fetchval(f"select {check}($1, $2, $3)", role, row["name"], kind)
        }
    return found


async def calls(owner: Connection, role: str) -> set[str]:
    """Names of the functions the role may call."""
    rows = await owner.fetch(FUNCTIONS)
    return {
        row["name"]
        for row in rows
        if await owner.fetchval("select has_function_privilege($1, $2, 'execute')", role, row["signature"])
    }


async def test_the_reader_has_exactly_its_rights(owner: Connection) -> None:
    """Over every table, column and function of the schema: SELECT where said, polls and reports, nothing else."""
    found = await rights(owner, "fastocsp_edge")
    assert {name: has for name, has in found.items() if has} == {name: {"select"} for name in READER_TABLES}
    assert await calls(owner, "fastocsp_edge") == {
        "feed_poll",
        "feed_item",
        "feed_report_orphans",
        "feed_report_crl",
        "certificate_sample",
        *CA_SIGNER_CALLS,
    }
    columns = await owner.fetch(
        """select table_name, column_name, privilege_type from information_schema.column_privileges
            where grantee in ('fastocsp_reader', 'fastocsp_edge', 'PUBLIC') and table_schema = 'public'"""
    )
    assert {row["privilege_type"] for row in columns} == {"SELECT"}
    for table, expected in READER_COLUMNS.items():
        assert {row["column_name"] for row in columns if row["table_name"] == table} == expected


async def test_the_writer_has_exactly_its_rights(owner: Connection) -> None:
    """Rows of the tables, but of feed, leases and audit chain only SELECT and the functions that keep them true."""
    found = await rights(owner, "fastocsp_cli")
    expected = {name: {"select"} for name in WRITER_READS} | {
        name: {"select", "insert", "update", "delete"} for name in WRITER_TABLES
    }
    expected["crl_mirrors"] = expected["crl_sources_waiting"] = {"select", "update"}
    expected["issuer_certificates"] = {"select", "insert"}
    expected["issuer_changes"] = {"select", "delete"}
    assert {name: has for name, has in found.items() if has} == expected
    assert await calls(owner, "fastocsp_cli") == WRITER_CALLS | CA_SIGNER_CALLS


async def test_functions_that_borrow_the_owners_rights_pin_their_search_path(owner: Connection) -> None:
    """SECURITY DEFINER without a pinned path would run what the caller puts in front."""
    loose = await owner.fetch(
        """select proname from pg_proc where pronamespace = 'public'::regnamespace and prosecdef
            and not coalesce(proconfig::text, '') like '%search_path=pg_catalog%pg_temp%'"""
    )
    assert loose == []


@pytest.mark.parametrize(
    "sql",
    [
        "update feed_head set seq = 0",
        "delete from revocation_events",
        "delete from edge_lease",
        "update audit_head set seq = 0",
        "insert into audit_events select * from audit_events",
        "update crl_numbers set last = 0",
        "select feed_append(array['\\x00'::bytea])",
        "select audit_append_rows(null)",
        "create table t (a int)",
        "create function f() returns int language sql return 1",
        "alter table certificate_revocations disable trigger all",
        "drop table issuers",
        "truncate certificate_revocations",
        "set session_replication_role = replica",
        "update feed_settings set horizon = '1 hour'",
        "update issuers set state = 'frozen'",
        "insert into ca_signer_logins values ('fastocsp_edge')",
        "select ca_signer_register('fastocsp_edge', 'me')",
        "set role fastocsp",
        "set role fastocsp_edge",
    ],
)
async def test_the_writer_is_kept_from_the_machinery(writer: Connection, issuer: Issuer, sql: str) -> None:
    """Each of these would let a writer lie about history."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await writer.execute(sql)


async def test_the_reader_asks_and_cannot_tell(reader: Connection, issuer: Issuer) -> None:
    """What it may select works; the rest is refused by the server itself."""
    for sql in (
        "select issuer_id, cert_der from issuers",
        "select * from feed_position",
        "select * from feed_snapshot",
        "select * from crl_cache",
        "select issuer_id, serial_number, not_after, status from certificates",
        "select issuer_id, cert_der from ocsp_responder_certs",
    ):
        await reader.fetch(sql)
    for sql in (
        "select subject from certificates",
        "select key_path from ocsp_responder_certs",
        "select * from certificate_revocations",
        "select * from audit_events",
        "select * from edge_lease",
        "select feed_unacked(1, 1)",
        "select feed_trim(0)",
        "select * from orphan_reports",
        "select orphans_settle()",
        "select orphan_confirm('e', 'ca', '\\x01', null, null, null, '')",
        "update issuers set subject = ''",
        "create table t (a int)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(sql)
