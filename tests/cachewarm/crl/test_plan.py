"""For how long a CRL holds."""

import pytest

from cachewarm.crl.plan import window
from cachewarm.errors import Refused
from responder.domain.issuer import Issuer
from tests.cachewarm.conftest import NOW, House


def test_window_ends_with_the_issuer(p256: House) -> None:
    """A CRL does not outlive the certificate that verifies it; after its end there is none."""
    issuer = Issuer.from_certificate(p256.chain[1].cert_der, issuer_id="issuing", issuer_no=1)
    assert window(issuer, NOW, 3600) == (NOW, NOW + 3600)
    assert window(issuer, issuer.not_after - 9, 3600) == (issuer.not_after - 9, issuer.not_after)
    with pytest.raises(Refused, match="has expired"):
        window(issuer, issuer.not_after, 3600)
