"""Loads structlog without rich. Import it before structlog: rich is 4 MB in every process, and only draws tracebacks.

Ours are rendered as text before they reach structlog's console renderer (`set_up_logs`), so nothing looks different.
"""

import sys

_is_absent = "rich" not in sys.modules
if _is_absent:
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails, which structlog expects
try:
    import structlog  # noqa: F401 - loaded for those who import it later
finally:
    if _is_absent:
        del sys.modules["rich"]
