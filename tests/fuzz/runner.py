"""What all fuzz targets share: seeds from the golden vectors, libFuzzer's arguments, one invariant.

A target takes bytes and may raise WireError; any other exception is a bug and stops the run. Without arguments a run
lasts 60 seconds; libFuzzer's own flags (`-max_total_time=600`, a corpus folder, a crash file) are passed through.

libFuzzer sees no branches of compiled modules. It is guided by those of the reference, which a target imports under
instrumented(): bytes that reach something new there are bytes that reach something new here.
"""

import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import atheris

from _fastocsp.ocsp.record import MORE_REVOKED, RECORD_HEAD
from _fastocsp.wire.errors import WireError

VECTORS = Path(__file__).parent.parent / "vectors"
SECONDS = 60


def instrumented() -> AbstractContextManager[object]:
    """Imports inside are instrumented, if they are of the reference or of our plain Python."""
    names = ["tests.reference", "asn1crypto.parser", "_fastocsp.http.slash_repair"]
    return atheris.instrument_imports(include=names)  # type: ignore[no-any-return]


def seeds(group: str) -> Iterable[bytes]:
    """The golden vectors of a group."""
    return (path.read_bytes() for path in sorted((VECTORS / group).iterdir()))


def framed(octets: bytes) -> bytes:
    """The bytes as a record of our version that is long enough, so that fuzzing gets past the frame."""
    return b"\x02" + octets[1:].ljust(RECORD_HEAD + MORE_REVOKED - 1, b"\0")


def run(argv: list[str], target: Callable[[bytes], object], corpus: Iterable[bytes]) -> None:
    """Fuzz until the time is over or the target breaks its promise; the process ends here."""

    def one(octets: bytes) -> None:
        try:
            target(octets)
        except WireError:
            return

    with tempfile.TemporaryDirectory() as folder:
        for number, octets in enumerate(corpus):
            Path(folder, str(number)).write_bytes(octets)
        bounded = any(argument.startswith(("-max_total_time", "-runs")) for argument in argv)
        limit = [] if bounded else [f"-max_total_time={SECONDS}"]
        atheris.Setup([sys.argv[0], *argv, *limit, folder], one)
        atheris.Fuzz()
