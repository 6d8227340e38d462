"""`fastocsp crl`: made, listed, shown, taken to a file, looked at; what is wrong is said."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from cachewarm.ledger.connect import Connection
from tests.cachewarm.cli.conftest import Fastocsp

URL = "http://pki.example"


@pytest.fixture
def web(fastocsp: Fastocsp) -> Fastocsp:
    """A CA with deltas, two shards and three certificates, one of them revoked."""
    made = fastocsp(
        "ca", "init", "--id", "web", "--subject", "CN=Web", "--delta-crl", "--crl-shards", "2", "--public-url", URL
    )
    assert made.status == 0, made.err
    serials = [fastocsp("ca", "issue", "web", "--name", f"{n}.example", "--json").json["serial"] for n in "abc"]
    assert fastocsp("revoke", "--serial", serials[0], "--reason", "keyCompromise").status == 0
    return fastocsp


def test_a_crl_is_made_listed_and_shown(web: Fastocsp, openssl: Callable[..., str], tmp_path: Path) -> None:
    """All of an issuer's CRLs under one number; the file is what openssl reads."""
    before = web("crl", "list", "--json").json
    assert [(row["issuer_id"], row["cache_present"], row["crl_number"]) for row in before["cache_rows"]] == [
        ("web", False, None)
    ]
    made = web("crl", "generate", "web", "--json").json
    assert sorted(made["crls"]) == ["0", "1", "complete", "delta"]
    assert made["revoked_count"] == 1
    (row,) = web("crl", "list", "--json").json["cache_rows"]
    assert (row["cache_present"], row["crl_number"], row["revoked_count"]) == (True, made["crl_number"], 1)
    assert row["is_stale"] is False
    assert [(event["succeeded"], event["crl_number"]) for event in row["recent_events"]] == [(True, made["crl_number"])]
    for name, words in (("full.pem", ()), ("delta.pem", ("--part", "delta")), ("1.pem", ("--part", "1"))):
        said = web("crl", "show", "web", *words, "--out", tmp_path / name, "--form", "pem", "--json").json
        assert said["crl_number"] == made["crl_number"]
        assert x509.load_pem_x509_crl((tmp_path / name).read_bytes()).issuer.rfc4514_string() == "CN=Web"
        assert "Version 2" in openssl("crl -noout -text -in", tmp_path / name)
    assert web("crl", "show", "web", "--json").json["freshest_crl"] == [f"{URL}/.well-known/pki/crl/web/delta"]


def test_the_next_delta_has_a_higher_number(web: Fastocsp) -> None:
    """Alone, on the complete CRL that there is."""
    first = web("crl", "generate", "web", "--json").json["crl_number"]
    second = web("crl", "generate", "web", "--delta", "--json").json
    assert (second["crl_number"] > first, second["crls"]) == (True, ["delta"])


async def test_verify_finds_what_was_changed(web: Fastocsp, writer: Connection) -> None:
    """Sound CRLs pass; a flipped byte in a shard's signature, and a CRL that is missing, end with status 1."""
    assert web("crl", "verify").status == 1
    web("crl", "generate", "web")
    sound = web("crl", "verify", "--json")
    assert (sound.status, sound.json["row_count"], {row["ok"] for row in sound.json["crls"]}) == (0, 4, {True})
    await writer.execute(
        "update crl_parts set crl_der = set_byte(crl_der, octet_length(crl_der) - 1,"
        " get_byte(crl_der, octet_length(crl_der) - 1) # 1) where part = '1'"
    )
    said = web("crl", "verify", "web", "--json")
    assert said.status == 1
    assert [(row["part"], row["ok"]) for row in said.json["crls"]] == [
        ("", True),
        ("delta", True),
        ("0", True),
        ("1", False),
    ]


async def test_a_crl_that_shrinks_needs_force(root_ca: Fastocsp, writer: Connection) -> None:
    """Refused with the reason and logged as failed, published with --force."""
    await writer.execute(
        """insert into certificate_revocations (issuer_id, serial_number, revoked_at, reason, revoked_by)
           select 'root', '\\x5e'::bytea || int8send(n), now(), 1, 'test' from generate_series(1, 400) n"""
    )
    assert root_ca("crl", "generate", "root").status == 0
    await writer.execute(
        """insert into certificates (issuer_id, serial_number, not_before, not_after)
           select 'root', serial_number, now() - interval '2 d', now() - interval '1 d' from certificate_revocations"""
    )
    await writer.execute("delete from certificate_revocations where get_byte(serial_number, 8) < 140")
    refused = root_ca("crl", "generate", "root")
    assert (refused.status, "CRL_SHRINK_LIMIT" in refused.err) == (1, True)
    events = root_ca("crl", "list", "--json").json["cache_rows"][0]["recent_events"]
    assert [event["succeeded"] for event in events] == [False, True]
    assert root_ca("crl", "generate", "root", "--force").status == 0


@pytest.mark.parametrize(
    "words", [("show", "nobody"), ("show", "web", "--part", "7"), ("generate", "nobody"), ("verify", "nobody")], ids=str
)
def test_an_unknown_crl_is_an_error(web: Fastocsp, words: tuple[str, ...]) -> None:
    """Exit status 1 and a sentence, nothing on standard output."""
    said = web("crl", *words)
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("fastocsp: ")
