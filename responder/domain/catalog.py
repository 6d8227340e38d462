"""The catalog: issuers, their responders and their CRLs.

All of it is public and changes seldom. The agent reads it from the ledger and keeps it on disk, so that an edge which
starts while Postgres is away still knows whose answers it serves. This module is the value alone.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature

from _fastocsp.ocsp.issuers import IssuerIndex
from _fastocsp.ocsp.record import Record
from _fastocsp.ocsp.response import Template
from _fastocsp.wire.codes import PARAMETERS_ABSENT
from responder.domain.crl_window import CRLWindow
from responder.domain.issuer import Issuer, IssuerTraits
from responder.domain.key import Key
from responder.domain.responder import ResponderCertificate
from responder.domain.status import HashAlgorithm, UnissuedPolicy


class CRLEntry(NamedTuple):
    """A CRL that the edge holds in `file`; times are epoch seconds, sizes bytes.

    `sha256` of the DER, hex; `gzip_octets` of the same gzipped in `file`.gz, 0 where that is not worth it.
    `renumberings` is how often it was accepted before this CRL that its CA's numbers began again.
    """

    number: int
    this_update: int
    next_update: int
    file: str
    sha256: str
    octets: int
    gzip_octets: int
    renumberings: int = 0


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """One reading of the ledger's public part."""

    issuers: tuple[Issuer, ...] = ()
    responders: Mapping[int, tuple[ResponderCertificate, ...]] = field(default_factory=dict)
    crls: Mapping[str, CRLEntry] = field(default_factory=dict)
    #: By issuer: CRL builds that failed since the last good one.
    crl_failures: Mapping[str, int] = field(default_factory=dict)
    #: By issuer: fetches of its CRL that failed since the last good one, by fault.
    fetch_failures: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    #: By issuer: the work that the writer cannot do for it (`responder`, `walk`); why is for operators alone.
    issuer_faults: Mapping[str, list[str]] = field(default_factory=dict)
    #: By issuer: revocations that edges or CRLs know and the ledger lacks; nothing is answered `good` for them.
    orphans: Mapping[str, int] = field(default_factory=dict)
    #: Former ids of issuers that were merged into another one: certificates still name them in their URLs.
    aliases: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[str, Issuer]:
        """Issuers by their names in URLs, former ones included."""
        found = {issuer.issuer_id: issuer for issuer in self.issuers}
        return {alias: found[issuer_id] for alias, issuer_id in self.aliases.items() if issuer_id in found} | found

    @cached_property
    def by_no(self) -> dict[int, Issuer]:
        """Issuers by their number in keys."""
        return {issuer.issuer_no: issuer for issuer in self.issuers}

    @cached_property
    def index(self) -> IssuerIndex:
        """The compiled index, with every template that a record may need."""
        index = IssuerIndex()
        for issuer in self.issuers:
            for algorithm in HashAlgorithm:
                hashes = issuer.name_hashes[algorithm], issuer.key_hashes[algorithm]
                index.add(issuer.issuer_no, issuer.issuer_id.encode(), algorithm, *hashes)
            for template in self.templates_of(issuer):
                index.add_template(issuer.issuer_no, template)
        return index

    def templates_of(self, issuer: Issuer) -> Sequence[Template]:
        """Return the templates of all responders of the issuer; those of the same pair are built once."""
        pairs = self.responders.get(issuer.issuer_no, ())
        made = self._templates.get(issuer.issuer_no)
        if made is None or made[0].cert_der != issuer.cert_der or made[1] != pairs:
            each = tuple(template for pair in pairs for template in templates(issuer, pair).values())
            made = self._templates[issuer.issuer_no] = issuer, pairs, each
        return made[2]

    def adopt_templates(self, former: "Catalog") -> None:
        """Take over the templates that the former catalog built."""
        self._templates.update(former._templates)

    @cached_property
    def _templates(self) -> dict[int, tuple[Issuer, tuple[ResponderCertificate, ...], tuple[Template, ...]]]:
        return {}

    def verify(self, key: Key, record: Record) -> bool:
        """The record's signature was made for this very key by a responder of that issuer."""
        template = self.index.find_template(key.issuer_no, key.hash_algorithm, record.responder)
        if template is None:
            return False
        for responder in self.responders.get(key.issuer_no, ()):
            if responder.responder == record.responder and record.next_update <= responder.not_after + 1:
                try:
                    responder.verify(record.signature, template.tbs(key.serial, record))
                except (InvalidSignature, ValueError):
                    return False
                return True
        return False


def templates(issuer: Issuer, responder: ResponderCertificate) -> dict[int, Template]:
    """Templates of that responder's answers by hash algorithm, with and without PARAMETERS_ABSENT.

    The responder's certificate is embedded unless the CA itself signs (RFC 6960 4.2.2.2).
    """
    certs = () if responder.cert_der == issuer.cert_der else (responder.cert_der,)
    return {
        algorithm | absent: Template(
            hash_algorithm=algorithm | absent,
            issuer_name_hash=issuer.name_hashes[algorithm],
            issuer_key_hash=issuer.key_hashes[algorithm],
            responder_id=responder.responder_id,
            responder=responder.responder,
            signature_algorithm=responder.signature_algorithm,
            certs=certs,
        )
        for algorithm in HashAlgorithm
        for absent in (0, PARAMETERS_ABSENT)
    }


def dump_catalog(catalog: Catalog) -> str:
    """JSON of the catalog."""
    return json.dumps(
        {
            "issuers": [_dump_issuer(issuer, catalog) for issuer in catalog.issuers],
            "crls": catalog.crls,
            "coverage": {},  # the version before reads it
            "crl_failures": catalog.crl_failures,
            "fetch_failures": catalog.fetch_failures,
            "issuer_faults": catalog.issuer_faults,
            "orphans": catalog.orphans,
            "aliases": catalog.aliases,
        }
    )


def load_catalog(text: str, former: Catalog | None = None) -> Catalog:
    """The catalog of that JSON; ValueError or KeyError when it is not one.

    Certificates that the former catalog has are not parsed again, and its templates are taken over.
    """
    written = json.loads(text)
    former = former or Catalog()
    issuers, responders = [], {}
    for entry in written["issuers"]:
        issuer = _load_issuer(entry, former.by_no.get(entry["issuer_no"]))
        issuers.append(issuer)
        before = former.responders.get(issuer.issuer_no, ())
        responders[issuer.issuer_no] = tuple(responder_like(before, b64decode(der)) for der in entry["responders"])
    crls = {issuer_id: CRLEntry(*values) for issuer_id, values in written["crls"].items()}
    catalog = Catalog(
        issuers=tuple(issuers),
        responders=responders,
        crls=crls,
        crl_failures=written.get("crl_failures", {}),
        fetch_failures=written.get("fetch_failures", {}),
        issuer_faults=written.get("issuer_faults", {}),
        orphans=written.get("orphans", {}),
        aliases=written.get("aliases", {}),
    )
    catalog.adopt_templates(former)
    return catalog


_PLAIN = ("issuer_id", "issuer_no", "ocsp_url", "crl_url", "ca_issuers_url", "publishes_crl")


def _dump_issuer(issuer: Issuer, catalog: Catalog) -> dict[str, Any]:
    return {name: getattr(issuer, name) for name in _PLAIN} | {
        "unissued_policy": issuer.unissued_policy,
        "windows": issuer.windows,
        "cert": b64encode(issuer.cert_der).decode(),
        "responders": [b64encode(r.cert_der).decode() for r in catalog.responders.get(issuer.issuer_no, ())],
    }


def _load_issuer(entry: Mapping[str, Any], former: Issuer | None) -> Issuer:
    written = entry.get("windows")
    traits: IssuerTraits = {
        "unissued_policy": UnissuedPolicy(entry["unissued_policy"]),
        "ocsp_url": entry["ocsp_url"],
        "crl_url": entry["crl_url"],
        "ca_issuers_url": entry["ca_issuers_url"],
        "publishes_crl": entry["publishes_crl"],
        "windows": None if written is None else tuple(CRLWindow(*each) for each in written),
    }
    return issuer_like(former, b64decode(entry["cert"]), entry["issuer_id"], entry["issuer_no"], traits)


def issuer_like(former: Issuer | None, cert_der: bytes, issuer_id: str, issuer_no: int, traits: IssuerTraits) -> Issuer:
    """Return the issuer of that certificate: the former one itself where nothing differs, ValueError as it raises.

    A certificate that the former one has is not parsed again.
    """
    if former is None or former.cert_der != cert_der or former.issuer_id != issuer_id:
        return Issuer.from_certificate(cert_der, issuer_id=issuer_id, issuer_no=issuer_no, **traits)
    issuer = replace(former, issuer_no=issuer_no, **traits)
    return former if issuer == former else issuer


def responder_like(former: Iterable[ResponderCertificate], cert_der: bytes) -> ResponderCertificate:
    """Return the responder certificate in that DER: one of the former ones, or parsed. ValueError as `from_der`."""
    for responder in former:
        if responder.cert_der == cert_der:
            return responder
    return ResponderCertificate.from_der(cert_der)
