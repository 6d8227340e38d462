"""The numbers that Python sees are the numbers the compiled modules use."""

import re
from pathlib import Path

import _fastocsp
from _fastocsp.ocsp import record
from _fastocsp.wire import codes

FOLDER = Path(_fastocsp.__file__).parent


def declared(name: str) -> dict[str, int]:
    """NAME = number lines of a .pxd."""
    lines = re.findall(r"^    ([A-Z][A-Z0-9_]+) = (\w+)", (FOLDER / f"{name}.pxd").read_text(), re.MULTILINE)
    return {constant: int(number, 0) for constant, number in lines}


def test_codes_are_those_of_the_pxd() -> None:
    """None is missing from Python and none differs."""
    assert declared("wire/codes") == {name: getattr(codes, name) for name in declared("wire/codes")}
    assert len(declared("wire/codes")) == 23


def test_record_constants_are_those_of_the_pxd() -> None:
    """The layout's numbers too."""
    assert declared("ocsp/record") == {name: getattr(record, name) for name in declared("ocsp/record")}
