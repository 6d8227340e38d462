"""The catalog between the ledger and the workers: read, kept on disk, announced by its version.

A reader never sees half of it: files are written under another name and renamed. CRLs lie beside it (crl_files).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from responder.domain.catalog import Catalog, dump_catalog, load_catalog
from responder.domain.certificate import may_sign_crls
from responder.domain.crl_window import CRLWindow
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from responder.domain.status import UnissuedPolicy
from responder.feed.crl_files import CRLFiles, forget_files
from responder.feed.poll import Connection
from responder.files import write_file
from responder.log_limits import ChangeLog

CATALOG_NAME = "catalog.json"
_unusable = ChangeLog()


async def read_ledger(connection: Connection, files: CRLFiles, former: Catalog) -> Catalog:
    """Return the catalog as the ledger has it, in one snapshot; CRLs that differ from the former one's are fetched.

    A row that cannot be used is left out and logged when it changes: it costs its own issuer alone.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        issuers = await read_issuers(connection)
        by_id = {issuer.issuer_id: issuer for issuer in issuers}
        return Catalog(
            issuers=issuers,
            responders=await _read_responders(connection, by_id),
            crls=await files.read(connection, by_id, former.crls),
            crl_failures=await _read_failures(connection),
            fetch_failures=await _read_fetch_failures(connection),
            issuer_faults=await _read_issuer_faults(connection, issuers),
            orphans=await _read_orphans(connection),
            aliases=await _read_aliases(connection),
        )


async def read_issuers(connection: Connection, only: Sequence[str] | None = None) -> tuple[Issuer, ...]:
    """Return the public part of every issuer, or of those ids, whose certificate can be read, by number."""
    issuers = []
    for row in await connection.fetch(_ISSUERS, None if only is None else list(only)):
        try:
            issuers.append(_issuer(row))
        except ValueError as error:
            _unusable.warn("ledger row unusable", row["issuer_id"], str(error), issuer_id=row["issuer_id"])
        else:
            _unusable.well(row["issuer_id"])
    return tuple(issuers)


def _issuer(row: Any) -> Issuer:
    return Issuer.from_certificate(
        row["cert_der"],
        issuer_id=row["issuer_id"],
        issuer_no=row["issuer_no"],
        unissued_policy=UnissuedPolicy(row["unissued_policy"]),
        ocsp_url=row["ocsp_url"],
        crl_url=row["crl_url"],
        ca_issuers_url=row["ca_issuers_url"],
        publishes_crl=row["publishes_crl"],
        windows=_windows(row),
    )


async def _read_issuer_faults(connection: Connection, issuers: Iterable[Issuer]) -> dict[str, list[str]]:
    """Without the reasons: they name paths of keys, and `/ready` is public. `crl`: its CRLs are withdrawn."""
    faults = {each.issuer_id: ["crl"] for each in issuers if each.publishes_crl and not may_sign_crls(each.cert_der)}
    for row in await connection.fetch("select issuer_id, work from issuer_faults order by issuer_id, work"):
        faults.setdefault(row["issuer_id"], []).append(row["work"])
    return faults


async def _read_orphans(connection: Connection) -> dict[str, int]:
    rows = await connection.fetch(
        "select issuer_id, count(*) from feed_orphans join issuers using (issuer_no) group by issuer_id"
    )
    return {row["issuer_id"]: row["count"] for row in rows}


async def _read_aliases(connection: Connection) -> dict[str, str]:
    rows = await connection.fetch("select issuer_id, merged_into from issuers where merged_into is not null")
    return {row["issuer_id"]: row["merged_into"] for row in rows}


async def _read_responders(
    connection: Connection, issuers: Mapping[str, Issuer]
) -> dict[int, tuple[ResponderCertificate, ...]]:
    """By issuer number, newest first."""
    responders: dict[int, tuple[ResponderCertificate, ...]] = {}
    for row in await connection.fetch(
        "select issuer_id, encode(serial_number, 'hex') as serial, cert_der from ocsp_responder_certs"
        " where not_after > now() order by created_at desc"
    ):
        issuer = issuers.get(row["issuer_id"])
        if issuer is None:
            continue
        thing = f"responder {row['serial']} of {row['issuer_id']}"
        try:
            responder = ResponderCertificate.from_der(row["cert_der"])
        except ValueError as error:
            _unusable.warn(
                "ledger row unusable", thing, str(error), issuer_id=row["issuer_id"], responder=row["serial"]
            )
            continue
        _unusable.well(thing)
        responders[issuer.issuer_no] = (*responders.get(issuer.issuer_no, ()), responder)
    return responders


# A row of crl_mirrors without a window is as good as none that is open: nobody is called good.
_ISSUERS = """
select i.issuer_id, issuer_no, cert_der, unissued_policy, ocsp_url, crl_url, ca_issuers_url, publishes_crl,
       m.issuer_id is not null as is_mirrored,
       floor(extract(epoch from m.good_from))::bigint as good_from,
       floor(extract(epoch from m.good_until))::bigint as good_until, m.generation, m.seq,
       floor(extract(epoch from m.former_from))::bigint as former_from,
       floor(extract(epoch from m.former_until))::bigint as former_until, m.former_generation, m.former_seq
  from issuers i left join crl_mirrors m on m.issuer_id = i.issuer_id
 where i.merged_into is null and ($1::text[] is null or i.issuer_id = any($1)) order by issuer_no"""


def _windows(row: Any) -> tuple[CRLWindow, ...] | None:
    """Of a mirrored issuer, newest first."""
    if not row["is_mirrored"]:
        return None
    both = (
        (row["good_from"], row["good_until"], row["generation"], row["seq"]),
        (row["former_from"], row["former_until"], row["former_generation"], row["former_seq"]),
    )
    return tuple(CRLWindow(*window) for window in both if window[0] is not None)


async def _read_failures(connection: Connection) -> dict[str, int]:
    return {row["issuer_id"]: row["failed"] for row in await connection.fetch("select * from crl_failures")}


async def _read_fetch_failures(connection: Connection) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in await connection.fetch("select issuer_id, fault, failed from crl_fetch_failures"):
        found.setdefault(row["issuer_id"], {})[row["fault"]] = row["failed"]
    return found


def keep_catalog(folder: Path, catalog: Catalog) -> None:
    """To disk, then forget the CRL files that it no longer names, but for the last ones."""
    write_file(folder / CATALOG_NAME, dump_catalog(catalog).encode())
    forget_files(folder, catalog.crls)


def kept_catalog(folder: Path) -> Catalog:
    """What the disk has; an empty catalog when there is none or it is damaged."""
    try:
        return load_catalog((folder / CATALOG_NAME).read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return Catalog()
