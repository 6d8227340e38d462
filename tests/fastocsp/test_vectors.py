"""The golden vectors against the compiled codec and the reference."""

import pytest

from _fastocsp.ocsp.certid import parse_cert_id
from _fastocsp.ocsp.record import pack_record, unpack_record
from _fastocsp.ocsp.request import parse_request
from _fastocsp.ocsp.response import Template, encode_signed
from _fastocsp.wire.errors import MalformedRecord, MalformedRequest
from tests.fastocsp.corpus import INDEX, VECTORS, octets_of, outcome
from tests.reference import ocsp as reference
from tests.reference import record as reference_record
from tests.reference.parts import response_parts


def test_the_index_and_the_folder_name_the_same_vectors() -> None:
    """Every vector has its line, and every line its vector."""
    listed = {f"{group}/{name}" for group, rows in INDEX.items() for name in rows}
    assert listed == {f"{path.parent.name}/{path.name}" for path in VECTORS.glob("*/*.*") if "__" not in str(path)}


@pytest.mark.parametrize("name", INDEX["request"])
def test_request_vectors_read_as_the_index_says(name: str) -> None:
    """Parser and reference agree on the value, and with the index on whether there is one."""
    octets = octets_of("request", name)
    read = outcome(parse_request, octets)
    assert (read is MalformedRequest) == (INDEX["request"][name]["expect"] == "malformed")
    assert read == outcome(reference.parse_request, octets)


@pytest.mark.parametrize("name", INDEX["record"])
def test_record_vectors_read_as_the_index_says(name: str) -> None:
    """Parser and reference agree on the record, and a good one packs to the same bytes."""
    octets = octets_of("record", name)
    read = outcome(unpack_record, octets)
    assert (read is MalformedRecord) == (INDEX["record"][name]["expect"] == "malformed")
    assert read == outcome(reference_record.unpack_record, octets)
    assert read is MalformedRecord or pack_record(read) == octets


@pytest.mark.parametrize("name", INDEX["response"])
def test_response_vectors_are_written_again_octet_for_octet(name: str) -> None:
    """From the parts of a response by OpenSSL or cryptography our writers make the same bytes."""
    octets = octets_of("response", name)
    parts = response_parts(octets)
    (cert_id,), record = [parse_cert_id(one) for one in parts.cert_ids], parts.record
    template = Template(
        hash_algorithm=cert_id.hash_algorithm,
        issuer_name_hash=cert_id.issuer_name_hash,
        issuer_key_hash=cert_id.issuer_key_hash,
        responder_id=parts.responder_id,
        responder=record.responder,
        signature_algorithm=parts.signature_algorithm,
        certs=parts.certs,
    )
    record = record._replace(hash_algorithm=cert_id.hash_algorithm)
    tbs = template.tbs(cert_id.serial_number, record, parts.nonce)
    assert encode_signed(template, tbs, record.signature) == octets
    assert parts.nonce is not None or template.encode(cert_id.serial_number, pack_record(record)) == octets
