"""The catalog between the ledger and the workers: read, kept on disk, announced by its version.

A reader never sees half of it: files are written under another name and renamed. CRLs lie beside it (crl_files).
"""

from pathlib import Path

from responder.domain.catalog import Catalog, Coverage, dump_catalog, load_catalog
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from responder.domain.status import UnissuedPolicy
from responder.feed.crl_files import CRLFiles, forget_files
from responder.feed.files import write_file
from responder.feed.poll import Connection

CATALOG_NAME = "catalog.json"


async def read_ledger(connection: Connection, files: CRLFiles, former: Catalog) -> Catalog:
    """The catalog as the ledger has it; CRLs that differ from the former one's are fetched."""
    issuers = await read_issuers(connection)
    numbers = {issuer.issuer_id: issuer.issuer_no for issuer in issuers}
    responders: dict[int, tuple[ResponderCertificate, ...]] = {}
    for row in await connection.fetch(
        "select issuer_id, cert_der from ocsp_responder_certs where not_after > now() order by created_at desc"
    ):
        number = numbers[row["issuer_id"]]
        responders[number] = (*responders.get(number, ()), ResponderCertificate.from_der(row["cert_der"]))
    by_id = {issuer.issuer_id: issuer for issuer in issuers}
    crls, coverage = await files.read(connection, by_id, former.crls), await _read_coverage(connection)
    return Catalog(issuers, responders, crls, coverage, await _read_failures(connection))


async def read_issuers(connection: Connection) -> tuple[Issuer, ...]:
    """The public part of every issuer, by number."""
    return tuple(
        Issuer.from_certificate(
            row["cert_der"],
            issuer_id=row["issuer_id"],
            issuer_no=row["issuer_no"],
            unissued_policy=UnissuedPolicy(row["unissued_policy"]),
            ocsp_url=row["ocsp_url"],
            crl_url=row["crl_url"],
            ca_issuers_url=row["ca_issuers_url"],
            publishes_crl=row["publishes_crl"],
        )
        for row in await connection.fetch(
            "select issuer_id, issuer_no, cert_der, unissued_policy, ocsp_url, crl_url, ca_issuers_url, publishes_crl"
            " from issuers order by issuer_no"
        )
    )


async def _read_coverage(connection: Connection) -> dict[str, Coverage]:
    rows = await connection.fetch(
        "select issuer_id, inventory, covered, extract(epoch from at)::bigint as at from presign_coverage"
    )
    return {row["issuer_id"]: Coverage(row["inventory"], row["covered"], row["at"]) for row in rows}


async def _read_failures(connection: Connection) -> dict[str, int]:
    return {row["issuer_id"]: row["failed"] for row in await connection.fetch("select * from crl_failures")}


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
