"""Frozen, revoked and expired CAs issue nothing, nor do those below them; their answers and CRLs go on."""

import json
import time

import pytest

from cachewarm.ca.authority import Authority, init_sub
from cachewarm.ca.ca_keys import LocalCAKeys, Purpose
from cachewarm.ca.certificate import parse_subject
from cachewarm.ca.issuer_rows import issuer_row
from cachewarm.ca.registry import enter_issued, load_authority, pointers_of, public_urls
from cachewarm.ca.responder_certificate import make
from cachewarm.config import Settings
from cachewarm.crl.regenerate import regenerate
from cachewarm.crl.sign_and_check import Rules
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger import issuers
from cachewarm.ledger.connect import connected
from cachewarm.ledger.issuer_states import ACTIVE, FROZEN, set_state
from cachewarm.ledger.revocations import Revocation, bulk_revoke
from cachewarm.quickstart.demo import prepare
from responder.domain.serial import serial_octets
from responder.domain.status import CRLReason
from tests.cachewarm.ca_signer.conftest import Site

DAY = 86400
RULES = Rules(validity_s=DAY)


async def revoke(site: Site, ca: issuers.Issuer, parent: issuers.Issuer, reason: CRLReason) -> None:
    """Revoke the certificate of a CA at its parent."""
    from cachewarm.ca.odd_names import load_certificate

    serial = serial_octets(load_certificate(ca.cert_der).serial_number)
    await bulk_revoke(site.connection, parent.issuer_id, [Revocation(serial, reason=reason)], actor="test")


async def test_frozen_ca_issues_nothing_and_goes_on_with_answers_and_crls(site: Site) -> None:
    """In the CA signer, and in the ledger for what was signed before; each change is audited with its actor."""
    root = await site.found("root")
    signed_before = site.leaf(root)
    assert await set_state(site.connection, "root", FROZEN, actor="alice")
    assert not await set_state(site.connection, "root", FROZEN, actor="alice")
    for purpose in (Purpose.CERTIFICATE, Purpose.SUB_CA):
        with pytest.raises(Refused, match=r"root is frozen \(`fastocsp ca thaw root`\)"):
            site.authority(root, purpose)
    with pytest.raises(Refused, match="root is frozen"):
        await enter_issued(site.connection, "root", signed_before)
    assert await site.connection.fetchval("select count(*) from certificates") == 0
    assert make(site.authority(root, Purpose.RESPONDER), "root", now=int(time.time()))
    assert await regenerate(site.connection, root, site.signer.keys, RULES) == 1
    assert await set_state(site.connection, "root", ACTIVE, actor="bob")
    assert await enter_issued(site.connection, "root", signed_before) == 1
    rows = await site.connection.fetch(
        "select actor, action, issuer_id, detail from audit_events where action like 'issuer-%' order by seq"
    )
    assert [(row["actor"], row["action"], row["issuer_id"]) for row in rows] == [
        ("alice", "issuer-freeze", "root"),
        ("bob", "issuer-thaw", "root"),
    ]
    assert json.loads(rows[0]["detail"])["login"] == "fastocsp_cli"


async def test_key_taken_before_the_freeze_signs_nothing_after_it(site: Site) -> None:
    """The state is looked at for each signature."""
    root = await site.found("root")
    authority, tbs = site.authority(root), site.leaf(root).certificate.tbs_certificate_bytes
    await set_state(site.connection, "root", FROZEN, actor="alice")
    with pytest.raises(Refused, match="root is frozen"):
        authority.key.sign(tbs)


async def test_nothing_is_issued_below_a_frozen_or_revoked_ca_at_any_level(site: Site) -> None:
    """The message names the CA that is the reason."""
    root = await site.found("root")
    middle = await site.found("middle", root)
    # init_sub makes CAs with pathLenConstraint 0: the third level is a leaf
    assert site.leaf(middle)
    await set_state(site.connection, "root", FROZEN, actor="alice")
    with pytest.raises(Refused, match=r"root, above middle, is frozen"):
        site.leaf(middle)
    await set_state(site.connection, "root", ACTIVE, actor="alice")
    signed_before = site.leaf(middle)
    await revoke(site, middle, root, CRLReason.cessationOfOperation)
    with pytest.raises(Refused, match=r"middle is revoked by root \(cessationOfOperation\)"):
        site.leaf(middle)
    with pytest.raises(Refused, match="middle is revoked by root"):
        await enter_issued(site.connection, "middle", signed_before)
    assert site.leaf(root)


async def test_revoked_ca_two_levels_up_is_the_reason_and_named(site: Site) -> None:
    """Root, policy, issuing: the middle one is revoked by the root."""
    now = int(time.time())
    root = await site.found("root")
    keys = [SoftKey.generate(KeyKind.P256) for _ in range(2)]
    above, row = load_authority(root), root
    for name, key, length in (("policy", keys[0], 1), ("issuing", keys[1], 0)):
        made = init_sub(key, parse_subject(f"CN={name}"), above, now=now, pointers=pointers_of(row), path_length=length)
        path = site.folder / f"ca-{name}.key"
        key.store(path)
        await enter_issued(site.connection, row.issuer_id, made)
        urls = public_urls("http://ocsp.example", name)
        row = await issuers.add_issuer(
            site.connection, name, actor="test", **issuer_row(made.certificate, urls, key_path=path)
        )
        above = Authority(made.certificate, key)
    assert site.leaf(row)
    policy = await issuers.require_issuer(site.connection, "policy")
    await revoke(site, policy, root, CRLReason.keyCompromise)
    with pytest.raises(Refused, match=r"policy, above issuing, is revoked by root \(keyCompromise\)"):
        site.leaf(row)


async def test_expired_ca_issues_nothing(site: Site) -> None:
    """By its own certificate's end."""
    old = int(time.time()) - 10 * DAY
    expired = await site.found("expired", now=old, validity_s=5 * DAY)
    with pytest.raises(Refused, match="expired expired at"):
        site.authority(expired)
    assert site.authority(expired, Purpose.CRL)


async def test_commands_that_open_keys_themselves_look_at_the_states_too(site: Site) -> None:
    """With FASTOCSP_CA_SIGNER=off the ledger is what refuses."""
    root = await site.found("root")
    authority = load_authority(root, LocalCAKeys(None))
    leaf = site.leaf(root)
    await set_state(site.connection, "root", FROZEN, actor="alice")
    assert authority
    with pytest.raises(Refused, match="root is frozen"):
        await enter_issued(site.connection, "root", leaf)
    with pytest.raises(Refused, match="root is frozen"):
        await site.found("sub", root, parent_authority=authority)
    assert not (site.folder / "ca-sub.key").exists()


async def test_quickstart_with_a_frozen_demo_ca_starts(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """It issues none of the certificates that are wanted, and answers for those that are there."""
    settings = Settings(data_dir=site.folder, ca_signer=str(site.signer.socket))
    await prepare(site.connection, settings, 3, 1)
    await set_state(site.connection, "demo", FROZEN, actor="alice")
    await prepare(site.connection, settings, 5, 1)
    assert "demo is frozen" in capsys.readouterr().err
    assert await site.connection.fetchval("select count(*) from certificates") == 3


async def test_states_beyond_frozen_are_not_left_by_thawing(site: Site, database: DatabaseURLs) -> None:
    """There is no way back from `removed` by these commands, and no issuer of that name is Refused."""
    await site.found("root")
    async with connected(database.owner) as owner:
        await owner.execute("update issuers set state = 'removed'")
    with pytest.raises(Refused, match="root is removed"):
        await set_state(site.connection, "root", ACTIVE, actor="alice")
    with pytest.raises(Refused, match="no issuer 'none'"):
        await set_state(site.connection, "none", FROZEN, actor="alice")
