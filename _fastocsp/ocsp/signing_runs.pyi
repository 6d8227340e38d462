"""Bodies of the frames between the warmer and its signing processes: runs of bytes, each behind its length."""

from collections.abc import Callable

from _fastocsp.ocsp.response import Template

def join_runs(runs: list[bytes]) -> bytes:
    """The body of these runs, each below 4 GiB."""

def split_runs(body: bytes) -> list[bytes]:
    """The runs of a body; ValueError when it ends within one."""

def sign_runs(body: bytes, templates: dict[int, Template], sign: Callable[[bytes], bytes]) -> bytes:
    """A body of signatures, for a body of serial numbers and unsigned records by turns.

    `templates` is by the records' hash algorithm; `sign` is called with each ResponseData. Raises ValueError for a body
    that ends within a run or a pair and for a record that is not the templates', MalformedRecord, KeyError.
    """
