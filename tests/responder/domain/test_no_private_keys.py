"""The read side may verify; it never has the means to sign."""

import re
from pathlib import Path

import responder

FORBIDDEN = re.compile(r"PrivateKey|load_pem_private|load_der_private|generate_private|\.sign\(")


def test_read_side_never_names_a_private_key() -> None:
    """No module of `responder` imports, loads or uses one; import-linter keeps it from `cachewarm`, which does."""
    folder = Path(next(iter(responder.__path__)))
    sources = sorted(folder.rglob("*.py"))
    assert len(sources) > 5
    assert [str(path) for path in sources if FORBIDDEN.search(path.read_text())] == []
