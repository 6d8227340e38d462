"""How it stands with each issuer: who signs, how much is signed ahead, what its CRL is like. Read only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cachewarm.ledger import coverage, crl_states, faults, issuers, mirrors, responders
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.faults import IssuerFault

_WORK = {
    faults.RESPONDER: "no usable responder",
    faults.WALK: "no signing ahead",
    faults.CA_SIGNER: "no certificates and no CRLs",
    faults.ORPHANS: "orphans (`fastocsp orphans list`)",
}


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One issuer, with the newest of its responder certificates.

    `unexpired` is the ledger's count of its certificates; `coverage` what the last walk found, of those it had seen.
    """

    issuer: issuers.Issuer
    responder: responders.ResponderCert | None
    coverage: coverage.Coverage | None
    unexpired: int
    crl: crl_states.CRLState
    mirror: mirrors.Mirror | None = None
    faults: tuple[IssuerFault, ...] = ()

    @property
    def share(self) -> float | None:
        """Part of the inventory that is signed ahead; None before the first walk, or when there is nothing to sign.

        What was added since the walk is not signed ahead, as far as is known here.
        """
        if self.coverage is None or not (inventory := max(self.unexpired, self.coverage.inventory)):
            return None
        return min(1.0, self.coverage.covered / inventory)


async def overviews(connection: Connection) -> list[Overview]:
    """Every issuer, by id."""
    counted = {each.issuer_id: each for each in await coverage.read_coverage(connection)}
    unexpired = await coverage.read_unexpired(connection)
    lists = {each.issuer_id: each for each in await crl_states.crl_states(connection)}
    mirrored = {each.issuer_id: each for each in await mirrors.mirrors(connection)}
    faulty = await faults.issuer_faults(connection)
    certs: dict[str, responders.ResponderCert] = {}
    for cert in sorted(await responders.responder_certs(connection), key=lambda cert: cert.created_at):
        certs[cert.issuer_id] = cert
    return [
        Overview(
            issuer=each,
            responder=certs.get(each.issuer_id),
            coverage=counted.get(each.issuer_id),
            unexpired=unexpired.get(each.issuer_id, 0),
            crl=lists[each.issuer_id],
            mirror=mirrored.get(each.issuer_id),
            faults=tuple(fault for fault in faulty if fault.issuer_id == each.issuer_id),
        )
        for each in await issuers.list_issuers(connection)
    ]


def row_of(seen: Overview) -> dict[str, Any]:
    """The columns of `issuer list` and `status`."""
    issuer, counted = seen.issuer, seen.coverage
    return {
        "issuer_id": issuer.issuer_id,
        "subject": issuer.subject,
        "responder": issuer.responder_mode,
        "responder_ends": _text(seen.responder.not_after if seen.responder else None),
        "inventory": seen.unexpired,
        "covered": counted.covered if counted else None,
        "state": issuer.state,
        "publishes_crl": issuer.publishes_crl,
        "crl_number": seen.crl.crl_number,
        "crl_next_update": _text(seen.crl.next_update),
    }


def fields_of(seen: Overview) -> dict[str, Any]:
    """Everything that `issuer show` says."""
    issuer, cert, counted, crl = seen.issuer, seen.responder, seen.coverage, seen.crl
    return row_of(seen) | {
        "ca_key": issuer.key_path,
        "unissued_policy": issuer.unissued_policy.value,
        "ocsp_url": issuer.ocsp_url,
        "crl_url": issuer.crl_url,
        "crl_shards": issuer.crl_shards,
        "delta_crl": issuer.delta_crl,
        "crl_scope": issuer.crl_scope,
        "ca_issuers_url": issuer.ca_issuers_url,
        "responder_subject": cert.cert_subject if cert else None,
        "responder_serial": cert.serial_number.hex() if cert else None,
        "responder_begins": _text(cert.not_before if cert else None),
        "coverage_at": _text(counted.at if counted else None),
        "crl_this_update": _text(crl.this_update),
        "crl_revoked": crl.revoked_count,
        "crl_failed_at": _text(crl.failed_at),
        "crl_error": crl.error,
        "crl_source": issuer.crl_source,
        "delta_source": issuer.delta_source,
        "crl_entries_skipped": seen.mirror.skipped if seen.mirror else None,
        "crl_remarks": seen.mirror.remarks if seen.mirror else None,
        "good_until": _text(seen.mirror.good_until if seen.mirror else None),
        "gone_but_live": seen.mirror.kept_live if seen.mirror else None,
        "faults": [f"{each.work}: {each.fault}" for each in seen.faults],
        "gone_end_unknown": seen.mirror.kept_unknown if seen.mirror else None,
    }


def problems_of(seen: Overview, now: datetime, *, ready_coverage: float, grace: timedelta) -> list[str]:
    """Return what an operator has to see to, a sentence each."""
    return [
        *_of_responder(seen, now, grace),
        *_of_faults(seen),
        *_of_coverage(seen, ready_coverage),
        *_of_crl(seen, now),
    ]


def _of_responder(seen: Overview, now: datetime, grace: timedelta) -> list[str]:
    name, cert = seen.issuer.issuer_id, seen.responder
    is_ours = seen.issuer.responder_mode == "delegated"
    remedy = "the warmer makes one: does it run?" if is_ours else f"`fastocsp issuer add` brings {name} another one"
    if cert is None:
        return [f"{name} has no responder certificate: {remedy}"]
    if now > cert.not_after:
        return [f"the responder certificate of {name} has ended at {_text(cert.not_after)}: {remedy}"]
    if not is_ours and now > cert.not_after - grace:
        return [f"the responder certificate of {name} ends at {_text(cert.not_after)}: {remedy}"]
    return []


def _of_faults(seen: Overview) -> list[str]:
    return [
        f"{_WORK[each.work]} of {each.issuer_id} since {_text(each.since)} ({each.failures} attempts): {each.fault}"
        for each in seen.faults
    ]


def _of_coverage(seen: Overview, ready_coverage: float) -> list[str]:
    if seen.share is None or seen.share >= ready_coverage:
        return []
    return [f"only {seen.share:.1%} of the inventory of {seen.issuer.issuer_id} is signed ahead"]


def _of_crl(seen: Overview, now: datetime) -> list[str]:
    name, crl = seen.issuer.issuer_id, seen.crl
    if seen.mirror is not None:
        return _of_mirror(seen.mirror, crl, now)
    if not seen.issuer.publishes_crl:
        return []
    found = []
    if crl.next_update is None:
        found.append(f"{name} has no CRL yet: the warmer makes it")
    elif crl.next_update <= now:
        found.append(f"the CRL of {name} ended at {_text(crl.next_update)}")
    if crl.failed_at is not None:
        found.append(f"the last CRL build of {name} failed at {_text(crl.failed_at)}: {crl.error}")
    return found


def _of_mirror(mirror: mirrors.Mirror, crl: crl_states.CRLState, now: datetime) -> list[str]:
    name, found = mirror.issuer_id, []
    if mirror.is_waiting:
        found.append(f"no CRL of {name} was taken from its source yet: its status still comes from the inventory")
    elif mirror.good_until is None:
        found.append(f"no CRL of {name} was fetched yet: none of its certificates is called good")
    elif mirror.good_until <= now:
        found.append(
            f"the mirrored CRL of {name} ended at {_text(mirror.good_until)}: none of its certificates is called good"
        )
    if crl.failed_at is not None:
        found.append(f"the last fetch of the CRL of {name} failed at {_text(crl.failed_at)}: {crl.error}")
    if mirror.skipped:
        found.append(f"the CRL of {name} was taken without some entries ({mirror.remarks})")
    if mirror.kept_live:
        found.append(
            f"{mirror.kept_live} certificates of {name} left its CRL before their end: they stay revoked; ask the CA"
        )
    return found


def _text(when: datetime | None) -> str | None:
    return when.isoformat(timespec="seconds") if when else None
