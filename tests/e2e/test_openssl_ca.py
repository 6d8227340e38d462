"""docs/openssl-ca.md is true: its commands run in their order, and print what the page says."""

from pathlib import Path

import pytest

from tests.support.instance import ROOT, Instance
from tests.support.pages import follow


@pytest.mark.e2e
def test_the_page_about_openssl_ca_does_what_it_says(instance: Instance, tmp_path: Path) -> None:
    """From an empty folder to answers that `openssl ocsp` accepts, against a running quickstart."""
    assert follow(ROOT / "docs" / "openssl-ca.md", tmp_path, instance) >= 8
