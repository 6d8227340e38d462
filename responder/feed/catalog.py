"""The catalog between the ledger and the workers: read, kept on disk, announced by its version.

A reader never sees half of it: files are written under another name and renamed. CRLs lie beside it (crl_files). What
is read again, and when, is decided in catalog_reader; what did not change is taken from the catalog before, unparsed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from responder.domain.catalog import Catalog, dump_catalog, issuer_like, load_catalog, responder_like
from responder.domain.certificate import may_sign_crls
from responder.domain.crl_window import CRLWindow
from responder.domain.issuer import Issuer, IssuerTraits
from responder.domain.responder import ResponderCertificate
from responder.domain.status import UnissuedPolicy
from responder.feed.crl_files import CRLFiles, forget_files
from responder.feed.poll import Connection
from responder.files import write_file
from responder.log_limits import ChangeLog

CATALOG_NAME = "catalog.json"
_unusable = ChangeLog()


async def read_ledger(
    connection: Connection, files: CRLFiles, former: Catalog, only: Collection[str] | None = None
) -> Catalog:
    """Return the catalog as the ledger has it, in one snapshot; CRLs that differ from the former one's are fetched.

    `only`: the issuers, by id, that may have changed since the former one; None reads all. A row that cannot be used is
    left out and logged when it changes: it costs its own issuer alone.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await read_rows(connection, files, former, only)


async def read_rows(connection: Connection, files: CRLFiles, former: Catalog, only: Collection[str] | None) -> Catalog:
    """Do the work of `read_ledger` inside the transaction of the caller."""
    ids = None if only is None else list(only)
    read = await read_issuers(connection, ids, former)
    issuers = _merged(former, read, ids)
    by_id = {issuer.issuer_id: issuer for issuer in issuers}
    responders = await _read_responders(connection, {each.issuer_id: each for each in read}, former, ids)
    failures = await _read_failures(connection, ids)
    fetch_failures = await _read_fetch_failures(connection, ids)
    aliases = await _read_aliases(connection, ids)
    crls = await files.read(connection, by_id, former.crls, ids)
    if ids is not None:
        present = {issuer.issuer_no for issuer in issuers} - {issuer.issuer_no for issuer in read}
        responders |= {number: each for number, each in former.responders.items() if number in present}
        again = set(ids)
        failures = {name: each for name, each in former.crl_failures.items() if name not in again} | failures
        kept = {name: dict(each) for name, each in former.fetch_failures.items() if name not in again}
        fetch_failures = kept | fetch_failures
        aliases = {name: each for name, each in former.aliases.items() if name not in again} | aliases
    return Catalog(
        issuers=issuers,
        responders=responders,
        crls=crls,
        crl_failures=failures,
        fetch_failures=fetch_failures,
        issuer_faults=await read_issuer_faults(connection, crl_faults(issuers)),
        orphans=await read_orphans(connection),
        aliases=aliases,
    )


def _merged(former: Catalog, read: tuple[Issuer, ...], ids: list[str] | None) -> tuple[Issuer, ...]:
    """Return the issuers that were read and the others of the former catalog, by number."""
    if ids is None:
        return read
    names, numbers = set(ids), {issuer.issuer_no for issuer in read}
    kept = (each for each in former.issuers if each.issuer_id not in names and each.issuer_no not in numbers)
    return tuple(sorted((*kept, *read), key=attrgetter("issuer_no")))


async def read_issuers(
    connection: Connection, only: Sequence[str] | None = None, former: Catalog | None = None
) -> tuple[Issuer, ...]:
    """Return the public part of every issuer, or of those ids, whose certificate can be read, by number.

    An issuer whose certificate is that of the former catalog is not parsed again.
    """
    before = {} if former is None else former.by_no
    issuers = []
    for row in await connection.fetch(_ISSUERS, None if only is None else list(only)):
        try:
            issuers.append(_issuer(row, before.get(row["issuer_no"])))
        except ValueError as error:
            _unusable.warn("ledger row unusable", row["issuer_id"], str(error), issuer_id=row["issuer_id"])
        else:
            _unusable.well(row["issuer_id"])
    return tuple(issuers)


def _issuer(row: Any, former: Issuer | None) -> Issuer:
    traits: IssuerTraits = {
        "unissued_policy": UnissuedPolicy(row["unissued_policy"]),
        "ocsp_url": row["ocsp_url"],
        "crl_url": row["crl_url"],
        "ca_issuers_url": row["ca_issuers_url"],
        "publishes_crl": row["publishes_crl"],
        "windows": _windows(row),
    }
    return issuer_like(former, row["cert_der"], row["issuer_id"], row["issuer_no"], traits)


def crl_faults(issuers: Iterable[Issuer]) -> dict[str, list[str]]:
    """Return `crl` for the issuers whose CRLs are withdrawn."""
    return {each.issuer_id: ["crl"] for each in issuers if each.publishes_crl and not may_sign_crls(each.cert_der)}


async def read_issuer_faults(connection: Connection, faults: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the work that fails by issuer, without the reasons: they name paths of keys, and `/ready` is public."""
    for row in await connection.fetch("select issuer_id, work from issuer_faults order by issuer_id, work"):
        faults.setdefault(row["issuer_id"], []).append(row["work"])
    return faults


async def read_orphans(connection: Connection) -> dict[str, int]:
    """Return the number of open orphans by issuer."""
    rows = await connection.fetch(
        "select issuer_id, count(*) from feed_orphans join issuers using (issuer_no) group by issuer_id"
    )
    return {row["issuer_id"]: row["count"] for row in rows}


async def _read_aliases(connection: Connection, only: list[str] | None) -> dict[str, str]:
    rows = await connection.fetch(
        f"select issuer_id, merged_into from issuers where merged_into is not null and {_AMONG}",  # noqa: S608
        only,
    )
    return {row["issuer_id"]: row["merged_into"] for row in rows}


async def _read_responders(
    connection: Connection, issuers: Mapping[str, Issuer], former: Catalog, only: list[str] | None
) -> dict[int, tuple[ResponderCertificate, ...]]:
    """By issuer number, newest first."""
    responders: dict[int, list[ResponderCertificate]] = {}
    for row in await connection.fetch(
        f"""select issuer_id, encode(serial_number, 'hex') as serial, cert_der from ocsp_responder_certs
             where not_after > now() and {_AMONG} order by created_at desc""",  # noqa: S608
        only,
    ):
        issuer = issuers.get(row["issuer_id"])
        if issuer is None:
            continue
        thing = f"responder {row['serial']} of {row['issuer_id']}"
        try:
            responder = responder_like(former.responders.get(issuer.issuer_no, ()), row["cert_der"])
        except ValueError as error:
            _unusable.warn(
                "ledger row unusable", thing, str(error), issuer_id=row["issuer_id"], responder=row["serial"]
            )
            continue
        _unusable.well(thing)
        responders.setdefault(issuer.issuer_no, []).append(responder)
    return {number: tuple(each) for number, each in responders.items()}


_AMONG = "($1::text[] is null or issuer_id = any($1))"
# A row of crl_mirrors without a window is as good as none that is open: nobody is called good.
_ISSUERS = """
select i.issuer_id, issuer_no, cert_der, unissued_policy, ocsp_url, crl_url, ca_issuers_url, publishes_crl,
       m.issuer_id is not null as is_mirrored,
       floor(extract(epoch from m.good_from))::bigint as good_from,
       floor(extract(epoch from m.good_until))::bigint as good_until, m.generation, m.seq,
       floor(extract(epoch from m.former_from))::bigint as former_from,
       floor(extract(epoch from m.former_until))::bigint as former_until, m.former_generation, m.former_seq
  from issuers i left join crl_mirrors m on m.issuer_id = i.issuer_id
 where i.merged_into is null and i.state <> 'removed' and ($1::text[] is null or i.issuer_id = any($1))
 order by issuer_no"""


def _windows(row: Any) -> tuple[CRLWindow, ...] | None:
    """Of a mirrored issuer, newest first."""
    if not row["is_mirrored"]:
        return None
    both = (
        (row["good_from"], row["good_until"], row["generation"], row["seq"]),
        (row["former_from"], row["former_until"], row["former_generation"], row["former_seq"]),
    )
    return tuple(CRLWindow(*window) for window in both if window[0] is not None)


async def _read_failures(connection: Connection, only: list[str] | None) -> dict[str, int]:
    rows = await connection.fetch(f"select issuer_id, failed from crl_failures where {_AMONG}", only)  # noqa: S608
    return {row["issuer_id"]: row["failed"] for row in rows}


async def _read_fetch_failures(connection: Connection, only: list[str] | None) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    sql = f"select issuer_id, fault, failed from crl_fetch_failures where {_AMONG}"  # noqa: S608
    for row in await connection.fetch(sql, only):
        found.setdefault(row["issuer_id"], {})[row["fault"]] = row["failed"]
    return found


def keep_catalog(folder: Path, catalog: Catalog) -> None:
    """To disk, then forget the CRL files that it no longer names, but for the last ones."""
    write_file(folder / CATALOG_NAME, dump_catalog(catalog).encode())
    forget_files(folder, catalog.crls)


def kept_catalog(folder: Path, former: Catalog | None = None) -> Catalog:
    """Return the catalog on disk, an empty one if there is none or it is damaged; values of the former are reused."""
    try:
        return load_catalog((folder / CATALOG_NAME).read_text(), former)
    except (OSError, ValueError, KeyError, TypeError):
        return Catalog()
