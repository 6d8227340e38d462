"""Answers with a nonce that compiled code signs by the batch, judged by `cryptography`."""

import os
from collections import OrderedDict

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from _fastocsp.ocsp.nonce_answers import SharedStatement, answer_batch
from _fastocsp.ocsp.record import Record, pack_record
from _fastocsp.ocsp.signer_wire import (
    DONE,
    pack_answer_query,
    pack_asked,
    pack_frame,
    pack_record_query,
    split_frames,
    unpack_signed,
)
from _fastocsp.revoked.image import RevokedImage, image_size
from _fastocsp.wire.errors import WireError
from cachewarm.keys.soft_key import KeyKind, SoftKey
from responder.domain.signature import scheme_of
from tests.fastocsp.leak import template as plain_template

UNTIL = 2000
SERIALS = [b"\x40" + bytes((n,)) * 15 for n in range(4)]
ISSUED, SHORT, REVOKED, STRANGER = SERIALS


class Batches:
    """One issuer, number 1: a certificate that is good, one that ends early, one revoked, one never heard of."""

    def __init__(self, sign: object = None) -> None:
        self.key = SoftKey.generate(KeyKind.P256)
        template = plain_template(scheme_of(self.key.public_key).algorithm, ())
        self.record = pack_record(Record(1, 0, b"respondr", 1000, UNTIL, 1000))
        self.shared = {(1, 1): SharedStatement(template, self.record, UNTIL, sign or self.key.sign)}  # type: ignore[arg-type]
        self.recent = OrderedDict([((1, ISSUED), UNTIL), ((1, SHORT), UNTIL - 1), ((1, REVOKED), UNTIL)])
        self.listed = RevokedImage(bytearray(image_size({}, 8)), writable=True)
        self.listed.build({}, 8)
        self.listed.apply(1, 1, REVOKED, 900, 1)

    def ask(self, octets: bytes, most: int = 99) -> tuple[list[bytes], list[int], list[int], int, int]:
        """Frames of answers, numbers of those left and of those that failed, frames read, bytes used."""
        answers, left, failed, read, used = answer_batch(octets, most, self.shared, self.recent, self.listed)
        return answers, [number for number, _, _ in left], [number for number, _ in failed], read, used


def test_each_answer_has_its_serial_its_nonce_and_a_signature_that_verifies() -> None:
    """The record goes with the answer."""
    batches = Batches()
    nonces = [os.urandom(n) for n in (1, 16, 32)]
    octets = b"".join(pack_asked(n, 1, 1, ISSUED, nonce) for n, nonce in enumerate(nonces))
    answers, left, failed, read, used = batches.ask(octets)
    assert (left, failed, read, used) == ([], [], 3, len(octets))
    public = batches.key.public_key
    assert isinstance(public, ec.EllipticCurvePublicKey)
    for n, (frame, nonce) in enumerate(zip(answers, nonces, strict=True)):
        ((number, kind, body),), _ = split_frames(frame, 1)
        signed = unpack_signed(body)
        assert (number, kind) == (n, DONE)
        assert signed is not None
        assert signed[0] == batches.record
        response = ocsp.load_der_ocsp_response(signed[1])
        assert response.serial_number == int.from_bytes(ISSUED)
        assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        public.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


def test_what_is_not_plain_is_left_to_others_in_its_order() -> None:
    """A certificate that ends early or is revoked or strange, another hash or issuer, two certificates, no nonce."""
    batches = Batches()
    octets = b"".join(
        (
            pack_asked(0, 1, 1, SHORT, b"n"),
            pack_asked(1, 1, 1, REVOKED, b"n"),
            pack_asked(2, 1, 1, STRANGER, b"n"),
            pack_asked(3, 1, 2, ISSUED, b"n"),
            pack_asked(4, 2, 1, ISSUED, b"n"),
            pack_answer_query(5, [(1, 1, ISSUED), (1, 1, ISSUED)], b"n"),
            pack_answer_query(6, [(1, 1, ISSUED)], None),
            pack_record_query(7, 1, 1, ISSUED),
            pack_frame(8, 77, b"nonsense"),
            pack_asked(9, 1, 1, ISSUED, b"n"),
        )
    )
    answers, left, failed, read, used = batches.ask(octets)
    assert left == list(range(9))
    assert (len(answers), failed, read, used) == (1, [], 10, len(octets))


def test_a_revocation_applied_between_two_batches_is_heeded() -> None:
    """The set is read for each question."""
    batches, octets = Batches(), pack_asked(0, 1, 1, ISSUED, b"n")
    assert len(batches.ask(octets)[0]) == 1
    batches.listed.apply(1, 1, ISSUED, 950, 1)
    assert batches.ask(octets)[:2] == ([], [0])


def test_a_fence_applied_between_two_batches_is_heeded() -> None:
    """Of that issuer alone."""
    batches, octets = Batches(), pack_asked(0, 1, 1, ISSUED, b"n")
    batches.listed.apply(1, 2, b"", 950, 255)
    assert len(batches.ask(octets)[0]) == 1
    batches.listed.apply(1, 1, b"", 950, 255)
    assert batches.ask(octets)[:2] == ([], [0])
    batches.listed.apply(2, 1, b"", 0, 255)
    assert len(batches.ask(octets)[0]) == 1


def test_a_key_that_cannot_sign_fails_its_own_question() -> None:
    """The next question is answered."""
    calls = iter((OSError("the token is gone"), None))

    def sign(tbs: bytes) -> bytes:
        error = next(calls)
        if error is not None:
            raise error
        return b"s" * len(tbs[:8])

    answers, left, failed, _, _ = Batches(sign).ask(b"".join(pack_asked(n, 1, 1, ISSUED, b"n") for n in range(2)))
    assert (len(answers), left, failed) == (1, [], [0])


def test_frames_are_read_up_to_the_limit_and_only_when_whole() -> None:
    """A frame cut anywhere waits for its rest."""
    batches, one = Batches(), pack_asked(0, 1, 1, ISSUED, b"n" * 32)
    assert batches.ask(one * 3, 2)[3:] == (2, 2 * len(one))
    for cut in range(len(one)):
        assert batches.ask(one + one[:cut])[3:] == (1, len(one))
    with pytest.raises(WireError):
        batches.ask(one + b"\xff" * 9)


def test_the_certificate_asked_for_last_is_the_last_to_be_forgotten() -> None:
    """As the cache of the ledger's answers has it."""
    batches = Batches()
    batches.ask(pack_asked(0, 1, 1, ISSUED, b"n"))
    assert list(batches.recent)[-1] == (1, ISSUED)
