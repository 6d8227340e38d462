"""`fastocsp` and CRLs that are made elsewhere: added, fetched, looked at; what is wrong is said."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cachewarm.ledger.connect import Connection
from tests.cachewarm.cli.conftest import Fastocsp
from tests.cachewarm.cli.test_issuer import ADD, EXTENSIONS, responder
from tests.support.foreign_ca import STOLEN, ForeignCA, Source, serving


@pytest.fixture
def source() -> Iterator[Source]:
    """A server that hands nothing out yet."""
    with serving() as running:
        yield running


@pytest.fixture
def ca(fastocsp: Fastocsp, openssl: Callable[..., str]) -> ForeignCA:
    """A CA with ca.pem and a responder r.pem; its key lies there as ca.key."""
    made = ForeignCA()
    (fastocsp.folder / "ca.pem").write_bytes(made.certificate.public_bytes(Encoding.PEM))
    key = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = fastocsp.folder / "ca.key"
    path.write_bytes(key)
    path.chmod(0o600)
    responder(fastocsp.folder, openssl, "r", EXTENSIONS)
    return made


def add(fastocsp: Fastocsp, source: Source) -> None:
    """The issuer `foreign`, its CRL at that source."""
    added = fastocsp(*ADD, "--id", "foreign", "--crl-url", source.url(), "--json")
    assert added.status == 0, added.err
    said = added.json
    assert (said["crl_source"], said["unissued_policy"], said["publishes_crl"]) == (source.url(), "good", True)


def test_a_crl_is_fetched_verified_and_fetched_again(fastocsp: Fastocsp, ca: ForeignCA, source: Source) -> None:
    """Nothing new the second time; a sound CRL passes `verify`; `generate` is not for it."""
    add(fastocsp, source)
    source.put(ca.crl(4, {1: None, 2: STOLEN}))
    (first,) = fastocsp("crl", "fetch", "--json").json["crls"]
    assert (first["crl_number"], first["new"], first["revoked"], first["problem"]) == (4, True, 2, None)
    (second,) = fastocsp("crl", "fetch", "foreign", "--json").json["crls"]
    assert (second["new"], second["revoked"]) == (False, 0)
    verified = fastocsp("crl", "verify", "--json")
    assert (verified.status, verified.json["crls"][0]["ok"]) == (0, True)
    (row,) = fastocsp("crl", "list", "--json").json["cache_rows"]
    assert (row["crl_number"], row["revoked_count"]) == (4, 2)
    assert [event["kind"] for event in row["recent_events"]] == ["mirror", "mirror"]
    refused = fastocsp("crl", "generate", "foreign")
    assert refused.status == 1
    assert "fastocsp crl fetch foreign" in refused.err


def test_a_failure_is_said_and_the_old_crl_stays(fastocsp: Fastocsp, ca: ForeignCA, source: Source) -> None:
    """By the command with status 1, and by `fastocsp status`."""
    add(fastocsp, source)
    assert "no CRL of foreign was fetched yet" in fastocsp("status").err + fastocsp("status").out
    source.put(ca.crl(4, {1: None}))
    assert fastocsp("crl", "fetch").status == 0
    source.put(ForeignCA().crl(5, {}))
    failed = fastocsp("crl", "fetch", "--json")
    assert failed.status == 1
    (row,) = failed.json["crls"]
    assert row["problem"].startswith("signature: ")
    assert "the last fetch of the CRL of foreign failed" in fastocsp("status").err + fastocsp("status").out
    assert fastocsp("crl", "list", "--json").json["cache_rows"][0]["crl_number"] == 4
    small = fastocsp("crl", "fetch", "--json", FASTOCSP_CRL_FETCH_MAX_BYTES="1024")
    assert small.status == 1
    source.put(bytes(2000))
    small = fastocsp("crl", "fetch", "--json", FASTOCSP_CRL_FETCH_MAX_BYTES="1024")
    assert small.json["crls"][0]["problem"].startswith("oversized: ")


async def test_verify_sees_what_was_changed(
    fastocsp: Fastocsp, ca: ForeignCA, source: Source, writer: Connection
) -> None:
    """A byte of the signature, and the end of the window."""
    add(fastocsp, source)
    source.put(ca.crl(4, {1: None}))
    fastocsp("crl", "fetch")
    await writer.execute(
        "update crl_cache set crl_der = set_byte(crl_der, octet_length(crl_der) - 1,"
        " get_byte(crl_der, octet_length(crl_der) - 1) # 1)"
    )
    damaged = fastocsp("crl", "verify", "--json")
    assert (damaged.status, damaged.json["crls"][0]["problem"].split(":")[0]) == (1, "signature")
    await writer.execute("update crl_mirrors set good_until = now() - interval '1 second'")
    assert "none of its certificates is called good" in fastocsp("status").err + fastocsp("status").out


def test_with_the_cas_key_the_url_is_our_own(fastocsp: Fastocsp, ca: ForeignCA, source: Source) -> None:
    """--crl-url keeps its meaning there; --crl-source fetches all the same, and nothing is made here then."""
    own = ("issuer", "add", "--cert", "ca.pem", "--key", "ca.key", "--id", "foreign")
    said = fastocsp(*own, "--crl-url", "http://crl.example/x", "--json").json
    assert (said["crl_url"], said["crl_source"], said["unissued_policy"]) == (
        "http://crl.example/x",
        None,
        "unauthorized",
    )
    assert fastocsp(*own, "--crl-url", source.url().replace("http", "https")).status == 2
    said = fastocsp(*own, "--crl-source", source.url(), "--json").json
    assert (said["crl_url"], said["crl_source"]) == ("http://crl.example/x", source.url())
    assert fastocsp("crl", "generate", "foreign").status == 1


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--crl-url", ("--crl-url", "ldap://x.example/y")),
        ("--crl-url", ("--crl-url", "file://elsewhere/x")),
        ("--crl-source", ("--crl-source", "crl.pem")),
        ("--delta-url", ("--crl-url", "http://x.example/", "--delta-url", "")),
    ],
)
def test_a_source_is_a_url_that_can_be_fetched(
    fastocsp: Fastocsp, ca: ForeignCA, option: str, words: tuple[str, ...]
) -> None:
    """Status 2, naming the option; no row."""
    refused = fastocsp(*ADD, *words)
    assert refused.status == 2
    assert option in refused.err
    assert fastocsp("issuer", "list", "--json").json["row_count"] == 0


def test_what_is_fetched_is_neither_split_nor_made(fastocsp: Fastocsp, ca: ForeignCA, tmp_path: Path) -> None:
    """Shards and deltas of our making, a delta without its complete CRL, a fetch where there is no source."""
    for words in (
        ("--crl-url", "http://x.example/", "--delta-crl"),
        ("--crl-url", "http://x.example/", "--crl-shards", "2"),
        ("--delta-url", "http://x.example/"),
    ):
        assert fastocsp(*ADD, *words).status == 1
    assert fastocsp(*ADD, "--id", "foreign").status == 0
    nothing = fastocsp("crl", "fetch", "foreign")
    assert nothing.status == 1
    assert "no CRL source" in nothing.err
    assert fastocsp("crl", "fetch", "--json").json == {"crls": [], "row_count": 0}


def test_numbers_are_waived_by_option_only(fastocsp: Fastocsp, ca: ForeignCA, source: Source) -> None:
    """--accept-unnumbered belongs to the issuer; --accept-renumbered is for one CRL of a named issuer."""
    add(fastocsp, source)
    source.put(ca.crl(None, {1: None}, begins=-90))
    refused = fastocsp("crl", "fetch", "foreign")
    assert refused.status == 1
    assert "--accept-unnumbered" in refused.out + refused.err
    assert fastocsp(*ADD, "--id", "foreign", "--accept-unnumbered").status == 0
    assert fastocsp("crl", "fetch", "foreign").status == 0
    assert fastocsp("crl", "verify").status == 0
    for number, begins in ((900, -80), (1, -70)):
        source.put(ca.crl(number, {1: None}, begins=begins))
        last = fastocsp("crl", "fetch", "foreign")
    assert (last.status, "number" in last.out + last.err) == (1, True)
    assert fastocsp("crl", "fetch", "--accept-renumbered").status == 2
    (row,) = fastocsp("crl", "fetch", "foreign", "--accept-renumbered", "--json").json["crls"]
    assert (row["crl_number"], row["problem"]) == (1, None)
