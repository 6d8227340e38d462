"""Which entries stay, which may go, and how long a CRL holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewarm.crl.plan import SETTLED_S, Revocation, RevokedEntry, entries, may_go, window
from cachewarm.errors import Refused
from responder.domain.issuer import Issuer
from tests.cachewarm.conftest import NOW, House

ENTRY = RevokedEntry(b"\x01", NOW, 1)


@pytest.mark.parametrize(
    ("not_after", "recorded_at", "last", "goes"),
    [
        (NOW, NOW - 9, None, False),
        (NOW, NOW - 9, NOW - 1, False),
        (NOW, NOW - 9, NOW + SETTLED_S, False),
        (NOW, NOW - 9, NOW + SETTLED_S + 1, True),
        (NOW - 99999, NOW, NOW, False),
        (NOW - 99999, NOW, NOW + SETTLED_S + 1, True),
    ],
    ids=["first CRL", "not expired", "within the margin", "on one more CRL", "revoked after its end", "and then gone"],
)
def test_expired_entry_goes_after_one_more_crl(not_after: int, recorded_at: int, last: int | None, goes: bool) -> None:
    """RFC 5280 3.3: it goes only when a CRL issued after the certificate's end has had it."""
    assert may_go(Revocation(ENTRY, not_after, recorded_at), last) is goes


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 4000)), max_size=8),
    st.lists(st.integers(0, 9000), min_size=1, max_size=6).map(sorted),
)
def test_every_entry_is_on_a_crl_after_its_certificates_end(rows: list[tuple[int, int]], updates: list[int]) -> None:
    """Over any series of CRLs: an entry leaves only after a CRL past the certificate's end carried it."""
    carried: dict[bytes, list[int]] = {}
    last: int | None = None
    for this_update in updates:
        known = [
            Revocation(RevokedEntry(bytes([n]), recorded, 1), not_after, recorded)
            for n, (not_after, recorded) in enumerate(rows)
            if recorded <= this_update
        ]
        kept = {entry.serial for entry in entries(known, last)}
        for revocation in known:
            serial = revocation.entry.serial
            if serial in kept:
                carried.setdefault(serial, []).append(this_update)
            else:
                assert any(when > revocation.not_after for when in carried.get(serial, []))
        last = this_update


def test_window_ends_with_the_issuer(p256: House) -> None:
    """A CRL does not outlive the certificate that verifies it; after its end there is none."""
    issuer = Issuer.from_certificate(p256.chain[1].cert_der, issuer_id="issuing", issuer_no=1)
    assert window(issuer, NOW, 3600) == (NOW, NOW + 3600)
    assert window(issuer, issuer.not_after - 9, 3600) == (issuer.not_after - 9, issuer.not_after)
    with pytest.raises(Refused, match="has ended"):
        window(issuer, issuer.not_after, 3600)
