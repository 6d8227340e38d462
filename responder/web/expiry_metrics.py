"""Metrics of an edge about what expires: responder certificates and CAs, the soonest ones."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from responder.domain.catalog import Catalog

#: Issuers that are listed, those that expire first: with ten thousand the page stays small.
MOST_LISTED = 100


def expiry_metrics(catalog: Catalog) -> Iterator[Metric]:
    """Yield notAfter (epoch seconds) of the newest responder certificate of each issuer, and of the issuers.

    An issuer without a responder certificate has 0, and comes first.
    """
    responders = {
        each.issuer_id: max((one.not_after for one in catalog.responders.get(each.issuer_no, ())), default=0)
        for each in catalog.issuers
    }
    yield _soonest(
        "fastocsp_responder_not_after_seconds",
        f"notAfter of the responder certificate that lasts longest; 0: there is none; the {MOST_LISTED} soonest",
        responders,
    )
    yield _soonest(
        "fastocsp_issuer_not_after_seconds",
        f"notAfter of the CA's certificate; the {MOST_LISTED} soonest",
        {each.issuer_id: each.not_after for each in catalog.issuers},
    )


def _soonest(name: str, text: str, ends: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["issuer_id"])
    for issuer_id, end in sorted(ends.items(), key=lambda item: item[1])[:MOST_LISTED]:
        family.add_metric([issuer_id], end)
    return family
