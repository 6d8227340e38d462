"""Heads of the hot lane, and when a client's copy is still right."""

import datetime
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.http.response import encode_head, entity_tag, is_not_modified, parse_fixdate
from _fastocsp.ocsp.record import RECORD_HEAD, pack_record
from _fastocsp.wire import codes
from _fastocsp.wire.errors import MalformedRecord
from _fastocsp.wire.types import Record
from responder.edge.http_answers import OCSPAnswer, cache_fields, fields, write
from tests.fastocsp.corpus import flips, prefixes
from tests.fastocsp.strategies import records
from tests.reference.record import in_halves
from tests.support.ca import Authority

THIS_UPDATE = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
RECORD = pack_record(
    Record(
        codes.SHA1, codes.GOOD, b"respondr", THIS_UPDATE, THIS_UPDATE + 86400, THIS_UPDATE, signature=bytes(range(64))
    )
)
TAG = b'"303132333435363738393a3b3c3d3e3f"'
OTHER = b'"303132333435363738393a3b3c3d3e40"'


@given(records(), st.integers(0, 2**32 - 1), st.integers(0, 99999), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_the_compiled_head_is_the_plain_one(record: Record, now: int, size: int, keep_alive: int, max_age: int) -> None:
    """Byte for byte what responder.edge.http_answers writes, for a 200 and for a 304."""
    octets, body = pack_record(record), b"b" * size
    whole = write(200, fields(OCSPAnswer(body, "hit", octets), now, max_age), body, keep_alive=keep_alive)
    assert encode_head(octets, now, size, keep_alive, max_age) + body == whole
    assert encode_head(octets, now, None, keep_alive, max_age) == write(
        304, cache_fields(octets, now, max_age), b"", keep_alive=keep_alive
    )


@given(records(), st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 3600, 2**32 - 1]))
def test_no_copy_outlives_next_update_or_the_limit(record: Record, now: int, limit: int) -> None:
    """Now + max-age <= nextUpdate = Expires; Last-Modified = thisUpdate; the tag is strong (H-11 .. H-13)."""
    lines = encode_head(pack_record(record), now, None, max_age=limit).decode().split("\r\n")[1:-2]
    head = dict(line.split(": ", 1) for line in lines)
    max_age, *others = head["Cache-Control"].split(", ")
    assert others == ["public", "no-transform", "must-revalidate"]
    assert max_age == f"max-age={min(limit, max(0, record.next_update - now))}"
    assert parsedate_to_datetime(head["Expires"]).timestamp() == record.next_update
    assert parsedate_to_datetime(head["Last-Modified"]).timestamp() == record.this_update
    assert parsedate_to_datetime(head["Date"]).timestamp() == now
    kept = in_halves(record.signature) or record.signature
    assert head["ETag"] == f'"{kept[-16:].hex()}"'
    assert entity_tag(pack_record(record)).decode() == head["ETag"]


def test_the_tag_of_an_ecdsa_answer_is_the_end_of_what_is_served(authority: Authority) -> None:
    """Keeping r and s instead of DER changes no tag that a cache holds."""
    signature = authority.sign(b"tbs")
    tag = entity_tag(pack_record(authority.record(signature=signature)))
    assert tag.decode() == f'"{signature[-16:].hex()}"'


@pytest.mark.parametrize(
    "listed",
    [
        b"*",
        TAG,
        b"W/" + TAG,
        OTHER + b", " + TAG,
        OTHER + b"," + TAG + b"," + OTHER,
        b", ,\t" + TAG,
        b'"",W/"a b", W/' + TAG,
        b'"a,b",' + TAG,
    ],
)
def test_a_tag_in_the_list_is_not_modified(listed: bytes) -> None:
    """Star, strong, weak, lists with empty members, tags with commas inside (RFC 9110 13.1.2, 8.8.3.2)."""
    assert is_not_modified(listed, b"", RECORD)


@pytest.mark.parametrize(
    "listed",
    [
        OTHER,
        TAG[:-1],
        TAG[1:],
        TAG[1:-1],
        b"w/" + TAG,
        b"W" + TAG,
        b"W/ " + TAG,
        b"**",
        b'"*"',
        b"*, " + OTHER,
        b"x " + TAG,
        b'"',
        b"W/",
        b'""',
        TAG[:-2] + b'"',
        TAG.upper(),
        OTHER + b'"' + TAG,
    ],
)
def test_any_other_list_is_modified(listed: bytes) -> None:
    """Another tag, half a tag, garbage before it; and it silences If-Modified-Since (RFC 9110 13.2.2)."""
    assert not is_not_modified(listed, b"", RECORD)
    assert not is_not_modified(listed, b"Fri, 01 Jan 2100 00:00:00 GMT", RECORD)


def test_no_cut_or_flipped_tag_matches() -> None:
    """Every prefix and every changed byte."""
    assert not any(is_not_modified(cut, b"", RECORD) for cut in prefixes(TAG))
    assert not any(is_not_modified(flipped, b"", RECORD) for flipped in flips(TAG))


@given(st.binary(max_size=80) | st.text('W/", *\t', max_size=12).map(str.encode))
def test_garbage_in_conditions_harms_nobody(value: bytes) -> None:
    """Any bytes give a decision, and only a star or the tag itself gives a 304."""
    assert is_not_modified(value, b"", RECORD) is (value == b"*")
    assert is_not_modified(b"", value, RECORD) is False


@pytest.mark.parametrize(("seconds", "fresh"), [(-1, False), (0, True), (1, True), (10**9, True)])
def test_if_modified_since_compares_with_this_update(seconds: int, fresh: bool) -> None:
    """Not modified from thisUpdate on."""
    date = format_datetime(datetime.datetime.fromtimestamp(THIS_UPDATE + seconds, datetime.UTC), usegmt=True)
    assert is_not_modified(b"", date.encode(), RECORD) is fresh
    assert not is_not_modified(OTHER, date.encode(), RECORD)


@given(st.integers(0, 2**32 - 1))
def test_every_fixdate_is_read(seconds: int) -> None:
    """decode(encode(x)) == x, with the encoder of the standard library."""
    date = format_datetime(datetime.datetime.fromtimestamp(seconds, datetime.UTC), usegmt=True)
    assert parse_fixdate(date.encode()) == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 06 nov 1994 08:49:37 GMT",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:49:37 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 32 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1969 08:49:37 GMT",
        b"Sun, 06 Nov 199a 08:49:37 GMT",
        b"Sun, 06 ovD 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT ",
        b"784111777",
    ],
)
def test_what_is_no_fixdate_is_ignored(wrong: bytes) -> None:
    """The obsolete forms, other zones, times that do not exist: as if the field were absent."""
    assert parse_fixdate(wrong) is None
    assert not is_not_modified(b"", wrong, RECORD)


def test_a_day_that_the_month_lacks_is_ignored() -> None:
    """31 February is no date; 29 February is one in leap years alone."""
    assert parse_fixdate(b"Thu, 29 Feb 1996 00:00:00 GMT") == 825552000
    for wrong in (
        b"Sat, 31 Feb 1996 00:00:00 GMT",
        b"Wed, 29 Feb 1995 00:00:00 GMT",
        b"Mon, 31 Apr 1995 00:00:00 GMT",
        b"Mon, 29 Feb 2100 00:00:00 GMT",
    ):
        assert parse_fixdate(wrong) is None


def test_only_a_record_has_a_tag() -> None:
    """Cut bytes are malformed for all three."""
    for call in (
        entity_tag,
        lambda octets: is_not_modified(b"*", b"", octets),
        lambda octets: encode_head(octets, 0, 1),
    ):
        with pytest.raises(MalformedRecord):
            call(RECORD[: RECORD_HEAD - 1])
