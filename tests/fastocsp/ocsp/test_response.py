"""OCSPResponse: templates and records against the reference encoder."""

import pytest
from asn1crypto import ocsp
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.ocsp.certid import parse_cert_id
from _fastocsp.ocsp.record import FLAG_EXTENDED_REVOKE, MAX_SIGNATURE, pack_record
from _fastocsp.ocsp.response import (
    Template,
    encode_signed,
    error_response,
    responder_id_by_key,
    responder_id_by_name,
    tbs_response_data,
)
from _fastocsp.wire import codes
from _fastocsp.wire.errors import MalformedRecord
from _fastocsp.wire.types import Record
from tests.fastocsp.corpus import flips, prefixes
from tests.fastocsp.strategies import Members, cert_id_members, records
from tests.reference import ocsp as reference
from tests.support.ca import ECDSA_SHA256, Authority

BY_KEY = responder_id_by_key(b"\x11" * 20)
SERIAL = b"\x7a\x01\x02"


def template_for(
    members: Members, responder: bytes, responder_id: bytes = BY_KEY, certs: tuple[bytes, ...] = ()
) -> Template:
    """A template for this issuer."""
    algorithm, name_hash, key_hash, _ = members
    return Template(
        hash_algorithm=algorithm,
        issuer_name_hash=name_hash,
        issuer_key_hash=key_hash,
        responder_id=responder_id,
        responder=responder,
        signature_algorithm=ECDSA_SHA256,
    )


def magnitude(serial: int) -> bytes:
    """A serial in 20 bytes, leading zeros included."""
    return reference.serial_key(serial)


@given(cert_id_members(), records(st.binary(min_size=1, max_size=MAX_SIGNATURE)))
def test_templates_write_what_asn1crypto_writes(members: Members, record: Record) -> None:
    """Compiled == reference, for every status, hash, serial and signature length."""
    record = record._replace(hash_algorithm=members[0])
    template = template_for(members, record.responder)
    tbs = reference.response_data([(reference.cert_id(*members), record)], BY_KEY, record.produced_at)
    assert template.tbs(magnitude(members[3]), record) == tbs.dump()
    expected = reference.encode_response(tbs, ECDSA_SHA256, record.signature, [])
    assert template.encode(magnitude(members[3]), pack_record(record)) == expected


@given(st.lists(st.tuples(cert_id_members(), records()), min_size=1, max_size=4), st.none() | st.binary(max_size=140))
def test_several_answers_are_what_asn1crypto_writes(asked: list[tuple[Members, Record]], nonce: bytes | None) -> None:
    """One SingleResponse for each CertID in the order asked, O-6, and the nonce as it came, O-10."""
    asked = [(members, record._replace(hash_algorithm=members[0])) for members, record in asked]
    singles = [(template_for(m, r.responder), magnitude(m[3]), pack_record(r)) for m, r in asked]
    made = [(reference.cert_id(*m), r) for m, r in asked]
    assert tbs_response_data(singles, 77, nonce) == reference.response_data(made, BY_KEY, 77, nonce).dump()


def test_the_octets_signed_are_the_octets_served(authority: Authority) -> None:
    """The fast writer and the wrapping of a tbs give the same response, certs included."""
    for algorithm in (codes.SHA1, codes.SHA256 | codes.PARAMETERS_ABSENT):
        record = authority.record(hash_algorithm=algorithm, signature=b"s" * 71)
        template = authority.template(algorithm)
        fast = template.encode(SERIAL, pack_record(record))
        assert encode_signed(template, template.tbs(SERIAL, record), record.signature) == fast


def test_the_cert_id_is_repeated_octet_for_octet(authority: Authority) -> None:
    """What was asked with or without NULL is answered so, O-13."""
    for absent in (0, codes.PARAMETERS_ABSENT):
        algorithm = codes.SHA256 | absent
        response = authority.answer(authority.record(hash_algorithm=algorithm), SERIAL)
        single = ocsp.OCSPResponse.load(response).response_data["responses"][0]
        assert parse_cert_id(single["cert_id"].dump()).hash_algorithm == algorithm
        assert single["cert_id"].dump() in response


def test_serials_are_integers_of_their_keys(authority: Authority) -> None:
    """A sign byte is added to a magnitude that needs it, and a negative number is the key without its mark."""
    template, record = authority.template(codes.SHA1), authority.record()
    for serial, encoded in [
        (b"\0", b"\x02\x01\0"),
        (b"\x80", b"\x02\x02\0\x80"),
        (b"\x7f", b"\x02\x01\x7f"),
        (b"\0\x80", b"\x02\x01\x80"),
    ]:
        assert encoded + b"\x80\x00\x18" in template.tbs(serial, record)
    assert b"\x02\x15\0" + b"\xff" * 20 in template.tbs(b"\xff" * 20, record)


def test_the_reason_unspecified_is_left_out(authority: Authority) -> None:
    """0 and NO_REASON write the same bytes, O-24."""
    template = authority.template(codes.SHA1)
    revoked = authority.record(status=codes.REVOKED, revocation_time=5)
    assert template.tbs(SERIAL, revoked._replace(reason=0)) == template.tbs(SERIAL, revoked)
    assert bytes.fromhex("a0030a0104") in template.tbs(SERIAL, revoked._replace(reason=4))


@pytest.mark.parametrize(
    "change",
    [{"hash_algorithm": codes.SHA256}, {"hash_algorithm": 0x81}, {"responder": b"stranger"}, {"signature": b""}],
)
def test_a_record_of_another_template_is_refused(authority: Authority, change: dict[str, object]) -> None:
    """Hash algorithm, NULL and responder bind a record to its template, and unsigned records are not served."""
    record = authority.record(signature=b"s")._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not belong"):
        authority.template(codes.SHA1).encode(SERIAL, pack_record(record))


@pytest.mark.parametrize("serial", [b"", b"\x01" * 22])
def test_a_serial_that_no_certificate_has_is_refused(authority: Authority, serial: bytes) -> None:
    """Empty and over-long magnitudes are not encoded."""
    for write in (authority.template(codes.SHA1).encode, authority.template(codes.SHA1).tbs):
        with pytest.raises(ValueError, match="does not belong"):
            write(serial, pack_record(authority.record(signature=b"s")))


def test_only_whole_records_are_encoded(authority: Authority) -> None:
    """Every prefix is refused, and every flipped byte is refused or gives another response."""
    template, octets = authority.template(codes.SHA1), pack_record(authority.record(signature=authority.sign(b"")))
    for cut in prefixes(octets):
        with pytest.raises(MalformedRecord):
            template.encode(SERIAL, cut)
    for flipped in flips(octets, (1, 255)):
        try:
            ocsp.OCSPResponse.load(template.encode(SERIAL, flipped), strict=True)
        except ValueError as error:
            assert isinstance(error, MalformedRecord) or "does not belong" in str(error)  # noqa: PT017 - either is right


def test_one_answer_has_one_responder() -> None:
    """Singles of two responders do not mix, and no singles make no answer."""
    members = (codes.SHA1, b"n" * 20, b"k" * 20, 1)
    record = Record(codes.SHA1, codes.GOOD, b"respondr", 1, 2, 1)
    other = responder_id_by_key(b"\x22" * 20)
    singles = [(template_for(members, b"respondr", one), b"\x01", record) for one in (BY_KEY, other)]
    with pytest.raises(ValueError, match="one responder"):
        tbs_response_data(singles, 1)
    with pytest.raises(ValueError, match="at least one"):
        tbs_response_data([], 1)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("hash_algorithm", 0),
        ("hash_algorithm", 0x41),
        ("issuer_name_hash", b"n" * 19),
        ("issuer_key_hash", b"k" * 32),
        ("responder_id", b"\xa0\x02\x05\x00"),
        ("responder_id", BY_KEY + b"\0"),
        ("responder", b"seven.."),
        ("signature_algorithm", b"\x30\x01"),
        ("certs", [b"\x02\x01\x01"]),
    ],
)
def test_templates_refuse_parts_that_do_not_fit(field: str, wrong: object) -> None:
    """Each part is checked when the template is made, not when it serves."""
    parts: dict[str, object] = {
        "hash_algorithm": codes.SHA1,
        "issuer_name_hash": b"n" * 20,
        "issuer_key_hash": b"k" * 20,
        "responder_id": BY_KEY,
        "responder": b"respondr",
        "signature_algorithm": ECDSA_SHA256,
    }
    Template(**parts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\w"):
        Template(**parts | {field: wrong})  # type: ignore[arg-type]


def test_responder_ids_have_their_tags(authority: Authority) -> None:
    """ByName is [1] around the Name, byKey [2] around 20 bytes."""
    name = authority.delegate.subject.public_bytes()
    assert ocsp.ResponderId.load(responder_id_by_name(name)).chosen.untag().dump() == name
    assert bytes.fromhex("a2160414") + b"\x11" * 20 == BY_KEY
    with pytest.raises(ValueError, match="20 octets"):
        responder_id_by_key(b"\x11" * 21)
    with pytest.raises(ValueError, match="Name"):
        responder_id_by_name(name + b"\0")


@pytest.mark.parametrize("status", [1, 2, 3, 5, 6])
def test_error_responses_are_five_octets(status: int) -> None:
    """No responseBytes, O-3; the reference writes the same."""
    assert error_response(status) == bytes.fromhex("30030a01") + bytes((status,)) == reference.encode_error(status)


def test_there_is_no_error_response_for_success_or_four() -> None:
    """0 needs responseBytes and 4 does not exist, O-3."""
    for status in (0, 4, 7):
        with pytest.raises(KeyError):
            error_response(status)


def test_extended_revoke_is_the_only_extension_of_plain_answers(authority: Authority) -> None:
    """Without the flag there are no responseExtensions, O-12; with it there is one NULL extension, RFC 6960 4.4.8."""
    record = authority.record(status=codes.REVOKED, reason=6)
    plain = ocsp.ResponseData.load(authority.template(codes.SHA1).tbs(SERIAL, record))
    assert plain["response_extensions"].native is None
    flagged = authority.template(codes.SHA1).tbs(SERIAL, record._replace(flags=FLAG_EXTENDED_REVOKE))
    (extension,) = ocsp.ResponseData.load(flagged)["response_extensions"]
    assert extension["extn_id"].dotted == "1.3.6.1.5.5.7.48.1.9"
    assert extension["extn_value"].contents == b"\x05\x00"
