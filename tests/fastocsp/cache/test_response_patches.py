"""Answers written over another one of their shape: byte for byte what the writers of head and DER make."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.cache.response_patches import Stencils
from _fastocsp.http.response import encode_head
from _fastocsp.ocsp.record import FLAG_EXTENDED_REVOKE, pack_record
from _fastocsp.ocsp.response import Template, responder_id_by_key
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record
from responder.domain.serial import serial_octets
from tests.fastocsp.strategies import records
from tests.support.ca import ECDSA_SHA256

NOW, SERIAL = 1_800_000_000, b"\x40" + b"\x05" * 15
LAST = 2**32 - 1
Asked = tuple[bytes, Record, int, int]


def template(*, hash_octet: int = 0x11, responder: bytes = b"respondr", certs: int = 0) -> Template:
    """Of an issuer with hashes of that byte, and so many bytes of certificates."""
    return Template(
        hash_algorithm=codes.SHA256,
        issuer_name_hash=bytes([hash_octet]) * 32,
        issuer_key_hash=bytes([hash_octet + 1]) * 32,
        responder_id=responder_id_by_key(b"\x33" * 20),
        responder=responder,
        signature_algorithm=ECDSA_SHA256,
        certs=[b"\x30\x82" + certs.to_bytes(2) + b"\x44" * certs] if certs else (),
    )


def good(now: int = NOW, signature: bytes = b"\x55" * 70, **fields: Any) -> Record:
    """Signed an hour ago, for a day."""
    of = Record(codes.SHA256, codes.GOOD, b"respondr", now - 3600, now + 82800, now - 3600, signature=signature)
    return of._replace(**fields)


NO_LIMIT = 2**32 - 1


def anew(of: Template, serial: bytes, record: Record, now: int, keep_alive: int, max_age: int = NO_LIMIT) -> bytes:
    """By the writers alone."""
    octets = pack_record(record)
    body = of.encode(serial, octets)
    return encode_head(octets, now, len(body), keep_alive, max_age) + body


@st.composite
def alike(draw: st.DrawFn) -> Asked:
    """Of few shapes, with nothing else in common: what stands where the other's stood, over all that may be there."""
    top = 2**255
    number = st.integers(top, 2 * top - 1) | st.integers(top // 2, top - 1)
    signature = draw(st.builds(encode_dss_signature, number, number) | st.binary(min_size=64, max_size=64))
    serial = bytes([draw(st.sampled_from([1, 0x7F, 0x80, 0xFF]))]) + draw(st.binary(min_size=3, max_size=3))
    this_update = draw(st.integers(0, LAST - 100_000))
    produced_at = this_update + draw(st.sampled_from([0, 1, 86400]))
    next_update = this_update + draw(st.integers(86401, 100_000))
    now = next_update - draw(st.integers(10_000, 86_000))
    record = Record(
        hash_algorithm=codes.SHA256,
        status=draw(st.sampled_from([codes.GOOD, codes.GOOD, codes.GOOD, codes.REVOKED])),
        responder=b"respondr",
        this_update=this_update,
        next_update=next_update,
        produced_at=produced_at,
        flags=draw(st.sampled_from([0, 0, FLAG_EXTENDED_REVOKE])),
        signature=signature,
    )
    number_of_it = int.from_bytes(serial) * draw(st.sampled_from([1, -1]))
    return serial_octets(number_of_it), record, now, draw(st.integers(0, 2))


@given(
    st.lists(st.tuples(st.integers(0, 2), alike()), min_size=2, max_size=40),
    st.sampled_from([0, 3600, 20_000, NO_LIMIT]),
)
def test_what_is_written_over_is_what_is_written(asked: list[tuple[int, Asked]], max_age: int) -> None:
    """Two issuers, and certificates behind the signature or none; whichever came before."""
    stencils, templates = Stencils(), [template(), template(certs=300), template(hash_octet=0x20)]
    for of, one in asked:
        serial, record, now, keep_alive = one
        made = stencils.encode(templates[of], serial, pack_record(record), now, keep_alive, max_age)
        assert made == anew(templates[of], *one, max_age)


@given(records(st.binary(min_size=1, max_size=1024)), st.integers(0, LAST), st.integers(-(2**159), 2**160 - 1))
def test_any_record_twice(record: Record, now: int, number: int) -> None:
    """Every status, width and time; the second is written over the first, or anew."""
    serial = serial_octets(number)
    record, stencils, of = (
        record._replace(hash_algorithm=codes.SHA256),
        Stencils(),
        template(responder=record.responder),
    )
    for _ in range(2):
        assert stencils.encode(of, serial, pack_record(record), now) == anew(of, serial, record, now, True)


@pytest.mark.parametrize("certs", [0, 2000, *range(2300, 2400), 3000, 9000])
def test_what_is_too_long_is_written_anew(certs: int) -> None:
    """On both sides of what a stencil holds."""
    stencils, of = Stencils(), template(certs=certs)
    for number in range(4):
        serial = SERIAL[:-1] + bytes([number])
        record = good(NOW + number, bytes([0x50 + number]) * 70)
        assert stencils.encode(of, serial, pack_record(record), NOW, True) == anew(of, serial, record, NOW, True)


def test_signatures_of_near_lengths_share_no_place() -> None:
    """ECDSA signatures have three lengths: where two took the place from each other an answer cost a sixth more."""
    templates, low, high = [template() for _ in range(50)], 2**254, 2**255
    signatures = [encode_dss_signature(*numbers) for numbers in ((low, low), (low, high), (high, high))]
    assert [len(each) for each in signatures] == [70, 71, 72]
    for of in templates:
        of_length = {
            Stencils().place(of, SERIAL, pack_record(good(signature=signature)), NOW) for signature in signatures
        }
        assert len(of_length) == 3
        assert None not in of_length
    assert Stencils().place(templates[0], SERIAL, pack_record(good()._replace(responder=b"somebody")), NOW) is None


def test_more_shapes_than_places() -> None:
    """They take them from each other, and none takes another one's."""
    stencils, of = Stencils(), template()
    for number in (*range(20, 90), *range(20, 90)):
        for life in (9, 99, 999):
            record = good(signature=b"\x55" * number, next_update=NOW + life)
            assert stencils.encode(of, SERIAL, pack_record(record), NOW) == anew(of, SERIAL, record, NOW, True)


@pytest.mark.parametrize(
    ("serial", "record"),
    [
        (b"", good()),
        (bytes(22), good()),
        (SERIAL * 100, good()),
        *((spelt, good()) for spelt in (b"\0\0", b"\0\x7f", b"\0\1\xff", b"\0\xff\x80", b"\0" + b"\x80" * 21)),
        (SERIAL, good(signature=b"")),
        (SERIAL, good(hash_algorithm=codes.SHA1)),
        (SERIAL, good()._replace(responder=b"somebody")),
    ],
)
def test_what_does_not_belong_is_refused(serial: bytes, record: Record) -> None:
    """Also when the shape is known."""
    stencils, of = Stencils(), template()
    stencils.encode(of, SERIAL, pack_record(good()), NOW)
    with pytest.raises(ValueError, match="does not belong"):
        stencils.encode(of, serial, pack_record(record), NOW)


def test_templates_that_changed_are_forgotten() -> None:
    """A template that lies where another one lay gives its own bytes."""
    stencils = Stencils()
    for number in range(50):
        of = template(hash_octet=number)
        assert stencils.encode(of, SERIAL, pack_record(good()), NOW) == anew(of, SERIAL, good(), NOW, True)
        stencils.clear()
        del of
