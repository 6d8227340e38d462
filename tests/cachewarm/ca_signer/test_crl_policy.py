"""CRLs as they pass the CA signer: their fields are judged, their entries are not kept."""

import tracemalloc
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from _fastocsp.crl.fields import Fields, Scope, header, tbs_frame
from cachewarm.ca.authority import Authority
from cachewarm.ca.certificate import key_identifier
from cachewarm.ca_signer.crl_policy import LONGEST_S, MOST_HEAD, PassingCRL, judge_crl, part_of
from cachewarm.ca_signer.policies import Forbidden
from cachewarm.ca_signer.wire import PIECE, Reason
from cachewarm.keys.soft_key import KeyKind
from responder.domain.odd_names import names_of
from tests.cachewarm.ca_signer.tbs import leaf_extensions, tbs_of
from tests.cachewarm.conftest import NOW, House, house_of

URL = "http://crl.example/ca"


def fields_of(ca: Authority, **changed: Any) -> Fields:
    """Return the fields of a complete CRL of that CA, with some changed."""
    right: dict[str, Any] = {
        "signature_algorithm": ca.key.signature_algorithm,
        "issuer": names_of(ca.certificate.public_bytes(Encoding.DER))[1],
        "authority_key_identifier": key_identifier(ca.certificate),
        "number": 7,
        "this_update": NOW,
        "next_update": NOW + 86400,
        "scope": Scope(),
    }
    return Fields(**right | changed)


def passed(tbs: bytes, piece: int = PIECE) -> PassingCRL:
    """Let those bytes pass in pieces."""
    passing = PassingCRL()
    for at in range(0, len(tbs), piece):
        passing.feed(tbs[at : at + piece])
    return passing


def whole(fields: Fields, entries: bytes = b"") -> bytes:
    """Return the TBSCertList with those entries."""
    before, after = tbs_frame(fields, len(entries))
    return before + entries + after


def judged(ca: Authority, tbs: bytes, last: int = 6, spent: int = 7) -> None:
    """Judge it as the service does."""
    judge_crl(passed(tbs).fields(), ca.certificate, NOW, last=last, spent=spent)


def reason_of(ca: Authority, tbs: bytes, **numbers: int) -> Reason:
    """Return the reason for which it is refused."""
    with pytest.raises(Forbidden) as caught:
        judged(ca, tbs, **numbers)
    return caught.value.reason


def test_crl_of_the_ca_is_allowed_however_it_is_cut(house: House) -> None:
    """With entries and without, complete, delta and shard, in pieces of any size."""
    for entries in (b"", b"\x30\x03\x02\x01\x05" * 40):
        for changed in ({}, {"base_number": 3}, {"scope": Scope(url=f"{URL}/4")}, {"freshest_url": f"{URL}/delta"}):
            tbs = whole(fields_of(house.root, **changed), entries)
            judged(house.root, tbs)
            for piece in (1, 7, 100):
                assert passed(tbs, piece).fields().number == 7


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"issuer": bytes.fromhex("300c310a300806035504030c0141")}, Reason.ISSUER),
        ({"authority_key_identifier": b"\1" * 20}, Reason.ISSUER),
        ({"signature_algorithm": bytes.fromhex("300506032b6570")}, Reason.ALGORITHM),
        ({"this_update": NOW + 7200}, Reason.WINDOW),
        ({"this_update": NOW - 7200}, Reason.WINDOW),
        ({"next_update": NOW}, Reason.WINDOW),
        ({"next_update": NOW + LONGEST_S + 1}, Reason.WINDOW),
        ({"base_number": 8}, Reason.FORM),
        ({"number": 6}, Reason.NUMBER),
        ({"number": 8}, Reason.NUMBER),
        ({"number": 2**159 - 1}, Reason.NUMBER),
    ],
)
def test_field_that_is_not_right_is_refused(p256: House, changed: dict[str, Any], reason: Reason) -> None:
    """Name, key identifier, algorithm, window, and a number that is used already or was never given out."""
    assert reason_of(p256.root, whole(fields_of(p256.root, **changed))) is reason


def test_crl_without_a_number_or_of_version_1_is_refused(p256: House) -> None:
    """RFC 5280 5.1.2.1 and 5.2.3."""
    fields = fields_of(p256.root)
    number = bytes.fromhex("300a0603551d140403020107")
    without = whole(fields).replace(number, bytes.fromhex("300a0603551d150403020107"))  # reasonCode instead
    assert reason_of(p256.root, without) in (Reason.NUMBER, Reason.FORM)
    content = fields.head()[3:] + fields.tail()
    assert reason_of(p256.root, header(0x30, len(content)) + content) is Reason.FORM


def test_certificate_digest_and_cut_crl_are_refused(p256: House) -> None:
    """Nothing but a whole TBSCertList has the fields of one."""
    right = whole(fields_of(p256.root), b"\x30\x03\x02\x01\x05" * 9)
    certificate = tbs_of(p256.root, leaf_extensions(p256.root), now=NOW)
    for tbs in (certificate, b"\1" * 32, b"", right[:-1], right + b"\0", b"\x30\x80" + right[2:], b"\x30" * 300):
        assert reason_of(p256.root, tbs) is Reason.FORM


def test_fields_and_extensions_without_end_are_refused(p256: House) -> None:
    """A client cannot have the CA signer keep what it sends."""
    passing = PassingCRL()
    passing.feed(bytes.fromhex("308480000000") + bytes.fromhex("020101") + b"\x30\x84\x70\x00\x00\x00")
    with pytest.raises(Forbidden):
        passing.feed(b"\0" * (MOST_HEAD + 1))
    before, _ = tbs_frame(fields_of(p256.root), 0)
    longer = b"\x30\x84" + (1 << 27).to_bytes(4) + before[3 if before[1] == 0x81 else 4 :]
    passing = PassingCRL()
    passing.feed(longer)
    with pytest.raises(Forbidden):
        passing.feed(b"\xa0" * PIECE)


def test_a_million_entries_pass_in_little_memory(p256: House) -> None:
    """Pieces of 40 MB are not kept."""
    entries, size = b"\x30\x03\x02\x01\x05" * (PIECE // 5), 160
    before, after = tbs_frame(fields_of(p256.root), len(entries) * size)
    passing = PassingCRL()
    tracemalloc.start()
    for piece in (before, *(entries for _ in range(size)), after):
        passing.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert passing.fields().number == 7
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("scope", "base", "part"),
    [
        (Scope(), None, ""),
        (Scope(url=URL, only_user_certs=True), None, ""),
        (Scope(url=f"{URL}/12"), None, "12"),
        (Scope(), 3, "delta"),
    ],
)
def test_part_is_known_by_its_distribution_point(scope: Scope, base: int | None, part: str) -> None:
    """Each part has numbers of its own that only grow."""
    crl = passed(whole(fields_of(house_of(KeyKind.P256).root, scope=scope, base_number=base))).fields()
    assert part_of(crl, URL) == part


@pytest.mark.parametrize("url", ["http://other.example/ca", f"{URL}/x", f"{URL}/1/2", f"{URL}x"])
def test_crl_of_another_url_is_refused(url: str) -> None:
    """It would be a CRL of a part whose numbers are not known."""
    crl = passed(whole(fields_of(house_of(KeyKind.P256).root, scope=Scope(url=url)))).fields()
    with pytest.raises(Forbidden):
        part_of(crl, URL)
