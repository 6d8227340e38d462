"""Usual lines of an index.txt as rows; judged by the parser that takes lines of every form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.crl.index_lines import IndexReader
from cachewarm.importer.openssl_index import LONGEST_LINE, IndexEntry, IndexStatus, Problem, iter_index
from cachewarm.ledger.import_lines import ImportLine, row

LATEST = 1_800_000_000
TIMES = ["250101000000Z", "20240229235959Z", "500101000000Z", "19000228120000Z", "00010101000000Z", "99991231235959Z"]
BAD_TIMES = ["250229000000Z", "19000229000000Z", "00000101000000Z", "251301000000Z", "250100000000Z", "250101240000Z"]
REASONS = [
    "",
    ",keyCompromise",
    ",CACompromise",
    ",keycompromise",
    ",aACompromise",
    ",unspecified",
    ",holdInstruction,1.2",
]
ODD = [",removeFromCRL", ",keyTime,20250101000000Z", ",", ",superseded,x", ",boredom"]
SERIALS = ["0A", "4E" * 16, "ff", "7f" * 20, "1" * 41, "A", "00ff", "-01", "0x", "4g", ""]
SUBJECTS = [
    "/C=DE/CN=host",
    "",
    "/CN=a\\\tb",
    "/CN=\N{LATIN SMALL LETTER U WITH DIAERESIS}",
    "/CN=x\r",
    "/CN=\x7f",
    "\0",
    "a\tb",
]
lines_of = st.one_of(
    st.builds(
        "\t".join,
        st.tuples(
            st.sampled_from(["V", "R", "E", "X", ""]),
            st.sampled_from(TIMES + BAD_TIMES),
            st.just("")
            | st.builds("".join, st.tuples(st.sampled_from(TIMES + BAD_TIMES), st.sampled_from(REASONS + ODD))),
            st.sampled_from(SERIALS),
            st.just("unknown"),
            st.sampled_from(SUBJECTS),
        ),
    ).map(str.encode),
    st.binary(max_size=60).filter(lambda line: b"\n" not in line),
    st.just(b"# a comment"),
)


def read(octets: bytes, *cuts: int) -> tuple[IndexReader, bytes, list[tuple[int, bytes]]]:
    """The reader, the rows and the lines handed back, of a file cut at those places."""
    reader = IndexReader(LATEST, LONGEST_LINE)
    places = [0, *sorted(cut for cut in cuts if cut < len(octets)), len(octets)]
    rows, odd = b"", []
    for begin, end in zip(places, [*places[1:], None], strict=True):
        more, others = reader.feed(octets[begin:end], end is None)
        rows += more
        odd += others
    return reader, rows, odd


def row_of(entry: IndexEntry) -> bytes:
    """The row of a line, as for one that is not usual."""
    line, serial, subject, not_after, status, revoked_at, reason, date = entry
    return row(ImportLine(line, serial, subject, not_after, status is IndexStatus.GOOD, revoked_at, reason, date))


@given(st.lists(lines_of, max_size=6), st.booleans(), st.integers(1, 300), st.integers(1, 300))
def test_rows_are_those_of_the_other_parser(lines: list[bytes], ends: bool, one: int, two: int) -> None:
    """Every line is a row that the other parser makes too, or handed back as it is, with its number."""
    octets = b"\n".join(lines) + (b"\n" if ends else b"")
    reader, rows, odd = read(octets, one, two)
    whole = [line + b"\n" for line in octets.split(b"\n")]
    whole[-1] = whole[-1][:-1]
    numbered = {number: line for number, line in enumerate(whole, 1) if line}
    assert reader.lines == len(numbered)
    for number, line in odd:
        assert numbered.pop(number) == line
    entries = list(iter_index(numbered.items()))
    assert not any(isinstance(entry, Problem) for entry in entries)
    fit = [entry for entry in entries if isinstance(entry, IndexEntry)]
    assert rows == b"".join(map(row_of, fit))
    counted = [sum(entry.status is status for entry in fit) for status in IndexStatus]
    assert [reader.good, reader.revoked, reader.expired] == counted
    late = [entry for entry in fit if entry.revoked_at is not None and not 0 <= entry.revoked_at <= LATEST]
    assert reader.times_out_of_range == len(late)


def test_usual_lines_are_not_handed_back() -> None:
    """What openssl writes, with each reason."""
    names = ["unspecified", "keyCompromise", "CACompromise", "affiliationChanged", "superseded", "cessationOfOperation"]
    revoked = ["250101000000Z", *(f"250101000000Z,{name}" for name in [*names, "certificateHold"])]
    lines = [f"R\t20400101000000Z\t{each}\t4E0{n}\tunknown\t/CN=x\n" for n, each in enumerate(revoked)]
    reader, rows, odd = read("".join([*lines, "V\t400101000000Z\t\t4E\tunknown\t/CN=x\n"]).encode())
    assert (reader.lines, reader.revoked, reader.good, odd) == (9, 8, 1, [])
    assert rows


@pytest.mark.parametrize("cuts", [(), (LONGEST_LINE,), tuple(range(1000, 4 * LONGEST_LINE, 999))], ids=len)
def test_lines_that_are_too_long_are_handed_back_cut(cuts: tuple[int, ...]) -> None:
    """A hostile file: what comes behind is read, and a line without an end takes no memory."""
    good = b"V\t301231000000Z\t\t01\tunknown\t/CN=a\n".replace(b"\t01", b"\t11")
    just = b"V\t301231000000Z\t\t11\tunknown\t/".ljust(LONGEST_LINE - 1, b"x") + b"\n"
    octets = good + b"V" * 3 * LONGEST_LINE + b"\n" + good + b"V" * LONGEST_LINE + b"\n" + just + b"V" * 70000
    reader, _, odd = read(octets, *cuts)
    assert (reader.lines, reader.good) == (6, 3)
    assert [number for number, _ in odd] == [2, 4, 6]
    assert {len(line) for _, line in odd} == {LONGEST_LINE + 1}
    assert {each.reason for each in iter_index(odd) if isinstance(each, Problem)} == {
        f"longer than {LONGEST_LINE} bytes"
    }
