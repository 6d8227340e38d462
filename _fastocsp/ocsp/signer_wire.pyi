"""Frames between an edge and the signer of its host, layout in signer_wire.pyx. Big-endian."""

from collections.abc import Sequence
from typing import Final

ASK_RECORD: Final = 1  # kinds asked
ASK_ANSWER: Final = 2
DONE: Final = 0  # kinds returned, besides an OCSPResponseStatus
DONE_ONCE: Final = 4
FRAME_HEAD: Final = 9  # bytes before a frame's body
MAX_FRAME: Final = 1048576  # bytes behind its length field
MAX_NONCE: Final = 32  # bytes of the nonce of a question about one certificate

def split_frames(octets: bytes, most: int) -> tuple[list[tuple[int, int, bytes]], int]:
    """(number, kind, body) of the whole frames in `octets`, at most that many, and the bytes they took.

    Raises WireError when what follows them cannot become a frame.
    """

def pack_frame(number: int, kind: int, body: bytes) -> bytes:
    """Return a frame with that number, kind and body."""

def pack_signed(number: int, record: bytes, der: bytes) -> bytes:
    """The DONE frame of an answer about one certificate: the record that it states, 1..65535 bytes, and its DER."""

def pack_asked(number: int, issuer_no: int, hash_algorithm: int, serial: bytes, nonce: bytes) -> bytes:
    """The ASK_ANSWER frame, as the connection loop writes it; serial key of 1..21 bytes, nonce of 1..MAX_NONCE."""

def unpack_asked(body: bytes) -> tuple[int, int, bytes, bytes] | None:
    """(issuer_no, hash_algorithm, serial, nonce) of an ASK_ANSWER body; None unless it is one certificate and a nonce
    of 1..MAX_NONCE bytes, which is not to say that it is wrong.
    """

def unpack_signed(body: bytes) -> tuple[bytes, bytes] | None:
    """(record, DER) of a DONE body as the connection loop reads it; None unless it is one record and something else."""

def pack_record_query(number: int, issuer_no: int, hash_algorithm: int, serial: bytes) -> bytes:
    """Return the ASK_RECORD frame of a question."""

def unpack_record_query(body: bytes) -> tuple[int, int, bytes]:
    """(issuer_no, hash_algorithm, serial) of an ASK_RECORD body; WireError when it is none."""

def pack_answer_query(number: int, cert_ids: Sequence[tuple[int, int, bytes]], nonce: bytes | None) -> bytes:
    """The ASK_ANSWER frame for up to 255 certificates, each (issuer_no, hash_algorithm, serial)."""

def unpack_answer_query(body: bytes) -> tuple[list[tuple[int, int, bytes]], bytes | None]:
    """([(issuer_no, hash_algorithm, serial), ..], nonce) of an ASK_ANSWER body; WireError when it is none."""

def pack_signed_answer(records: Sequence[bytes], der: bytes) -> bytes:
    """The body of a DONE frame: the records that the answer states, up to 255, and its DER."""

def unpack_signed_answer(body: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """(records, DER) of a DONE body for any number of certificates; WireError when it is cut short."""
