"""Frames between an edge and the signer of its host, both ways.

    length u32, of what follows | number u32 | kind u8 | body

Kinds asked: ASK_RECORD, one record for (issuer number u16, hash algorithm u8, serial); ASK_ANSWER, a whole answer for a
nonce (length u8, bytes) and CertIDs (count u8, then for each issuer number u16, hash algorithm u8, length u8, serial).
Kinds returned: DONE, DONE_ONCE (not to be kept), else the OCSPResponseStatus. An answer's body: count u8, for each
record length u16 and bytes, then DER. Big-endian. The number says which question a frame belongs to.
"""

from libc.string cimport memcpy

from _fastocsp.wire.der cimport (
    Cursor, Fault, leave, octets_left, open_cursor, read_octets, read_u8, read_u16, read_u32,
)
from _fastocsp.ocsp.record cimport read_record
from _fastocsp.wire.sink cimport (
    bytes_sink, new_bytes, octets_of, open_sink, put_big_endian, put_octet, put_octets, sink_used,
)

from _fastocsp.wire.errors import WireError

cdef enum:
    AFTER_LENGTH = 5              # bytes of number and kind
    LENGTH_FIELD = 4


cdef void put_answer_query(Sink* s, uint32_t number, const AnswerQuery* asked) noexcept nogil:
    cdef Octets run
    put_big_endian(s, AFTER_LENGTH + 2 + asked.nonce_len + 4 + asked.serial_len, LENGTH_FIELD)
    put_big_endian(s, number, 4)
    put_octet(s, ASK_ANSWER)
    put_octet(s, asked.nonce_len)
    run.p = &asked.nonce[0]
    run.n = asked.nonce_len
    put_octets(s, run)
    put_octet(s, 1)
    put_big_endian(s, asked.issuer_no, 2)
    put_octet(s, asked.hash_algorithm)
    put_octet(s, asked.serial_len)
    run.p = &asked.serial[0]
    run.n = asked.serial_len
    put_octets(s, run)


cdef int next_frame(Octets* octets, Frame* out) noexcept nogil:
    cdef Cursor c
    cdef Fault fault
    cdef uint32_t length = 0
    open_cursor(&c, octets[0], &fault)
    if read_u32(&c, &length) < 0:
        return 0
    if not AFTER_LENGTH <= length <= MAX_FRAME:
        return -1
    if length > octets_left(&c):
        return 0
    if (read_u32(&c, &out.number) < 0 or read_u8(&c, &out.kind) < 0
            or read_octets(&c, length - AFTER_LENGTH, &out.body) < 0):
        return -1
    octets.p, octets.n = c.p, octets_left(&c)
    return 1


cdef int read_signed(Octets body, SignedAnswer* out) noexcept nogil:
    cdef Cursor c
    cdef Fault fault
    cdef uint8_t count = 0
    cdef uint16_t length = 0
    cdef Octets record
    open_cursor(&c, body, &fault)
    if read_u8(&c, &count) < 0 or count != 1 or read_u16(&c, &length) < 0 or read_octets(&c, length, &record) < 0:
        return -1
    out.der.n = octets_left(&c)
    if out.der.n == 0 or read_octets(&c, out.der.n, &out.der) < 0:
        return -1
    return read_record(record.p, record.n, &out.record)


cdef int read_asked(Octets body, AnswerQuery* out) noexcept nogil:
    cdef Cursor c
    cdef Fault fault
    cdef uint8_t count = 0
    cdef Octets nonce, serial
    open_cursor(&c, body, &fault)
    if (read_u8(&c, &out.nonce_len) < 0 or not 1 <= out.nonce_len <= MAX_NONCE
            or read_octets(&c, out.nonce_len, &nonce) < 0 or read_u8(&c, &count) < 0 or count != 1
            or read_u16(&c, &out.issuer_no) < 0 or read_u8(&c, &out.hash_algorithm) < 0
            or read_u8(&c, &out.serial_len) < 0 or not 1 <= out.serial_len <= MAX_SERIAL
            or read_octets(&c, out.serial_len, &serial) < 0 or leave(&c) < 0):
        return -1
    memcpy(out.nonce, nonce.p, nonce.n)
    memcpy(out.serial, serial.p, serial.n)
    return 0


def split_frames(bytes octets not None, Py_ssize_t most):
    cdef Octets left = octets_of(octets)
    cdef Frame frame
    cdef int got = 0
    frames = []
    while len(frames) < most:
        got = next_frame(&left, &frame)
        if got <= 0:
            break
        frames.append((frame.number, frame.kind, (<const char*>frame.body.p)[:frame.body.n]))
    if got < 0:
        raise WireError("not a frame", len(octets) - left.n)
    return frames, len(octets) - left.n


def pack_frame(uint32_t number, uint8_t kind, bytes body not None):
    cdef bytes frame = new_bytes(FRAME_HEAD + len(body))
    cdef Sink s
    bytes_sink(&s, frame)
    put_big_endian(&s, AFTER_LENGTH + len(body), LENGTH_FIELD)
    put_big_endian(&s, number, 4)
    put_octet(&s, kind)
    put_octets(&s, octets_of(body))
    return frame


def pack_signed(uint32_t number, bytes record not None, bytes der not None):
    cdef size_t length = 3 + len(record) + len(der)
    cdef bytes frame = new_bytes(FRAME_HEAD + length)
    cdef Sink s
    if len(record) > 0xFFFF:
        raise ValueError("a record is not that long")
    bytes_sink(&s, frame)
    put_big_endian(&s, AFTER_LENGTH + length, LENGTH_FIELD)
    put_big_endian(&s, number, 4)
    put_octet(&s, DONE)
    put_octet(&s, 1)
    put_big_endian(&s, len(record), 2)
    put_octets(&s, octets_of(record))
    put_octets(&s, octets_of(der))
    return frame


def pack_asked(uint32_t number, uint16_t issuer_no, uint8_t hash_algorithm, bytes serial not None,
               bytes nonce not None):
    cdef AnswerQuery asked
    cdef uint8_t frame[FRAME_HEAD + 6 + MAX_NONCE + MAX_SERIAL]
    cdef Sink s
    if not 1 <= len(serial) <= MAX_SERIAL or not 1 <= len(nonce) <= MAX_NONCE:
        raise ValueError("serial or nonce out of range")
    asked.issuer_no, asked.hash_algorithm = issuer_no, hash_algorithm
    asked.serial_len, asked.nonce_len = <uint8_t>len(serial), <uint8_t>len(nonce)
    memcpy(asked.serial, octets_of(serial).p, asked.serial_len)
    memcpy(asked.nonce, octets_of(nonce).p, asked.nonce_len)
    open_sink(&s, frame, sizeof(frame))
    put_answer_query(&s, number, &asked)
    return (<const char*>frame)[:sink_used(&s)]


def unpack_asked(bytes body not None):
    cdef AnswerQuery asked
    if read_asked(octets_of(body), &asked) < 0:
        return None
    return asked.issuer_no, asked.hash_algorithm, asked.serial[:asked.serial_len], asked.nonce[:asked.nonce_len]


def unpack_signed(bytes body not None):
    cdef SignedAnswer signed_
    if read_signed(octets_of(body), &signed_) < 0:
        return None
    return body[3:len(body) - signed_.der.n], (<const char*>signed_.der.p)[:signed_.der.n]


cdef bytes fixed(Cursor* c, size_t n):
    """The next n bytes; WireError when fewer are left."""
    cdef Octets run
    if read_octets(c, n, &run) < 0:
        raise WireError("the frame's body is cut short")
    return (<const char*>run.p)[:run.n]


cdef int one_byte(Cursor* c) except -1:
    return (<bytes>fixed(c, 1))[0]


cdef tuple cert_id(Cursor* c):
    """(issuer number, hash algorithm, serial)."""
    cdef bytes head = fixed(c, 4)
    if not 1 <= head[3] <= MAX_SERIAL:
        raise WireError("the serial number has a wrong length")
    return head[0] << 8 | head[1], head[2], fixed(c, head[3])


def pack_record_query(uint32_t number, uint16_t issuer_no, uint8_t hash_algorithm, bytes serial not None):
    return pack_frame(number, ASK_RECORD, issuer_no.to_bytes(2, "big") + bytes((hash_algorithm,)) + serial)


def unpack_record_query(bytes body not None):
    if not 4 <= len(body) <= 3 + MAX_SERIAL:
        raise WireError("not a query for one record")
    return body[0] << 8 | body[1], body[2], body[3:]


def pack_answer_query(uint32_t number, cert_ids, bytes nonce):
    parts = [bytes((len(nonce),)) + nonce if nonce is not None else b"\0", bytes((len(cert_ids),))]
    for issuer_no, hash_algorithm, serial in cert_ids:
        parts.append(issuer_no.to_bytes(2, "big") + bytes((hash_algorithm, len(serial))) + serial)
    return pack_frame(number, ASK_ANSWER, b"".join(parts))


def unpack_answer_query(bytes body not None):
    cdef Cursor c
    cdef Fault fault
    open_cursor(&c, octets_of(body), &fault)
    nonce = fixed(&c, one_byte(&c))
    cert_ids = [cert_id(&c) for _ in range(one_byte(&c))]
    if not cert_ids or octets_left(&c):
        raise WireError("not a query for an answer", len(body) - octets_left(&c))
    return cert_ids, nonce or None


def pack_signed_answer(records, bytes der not None):
    parts = [bytes((len(records),))]
    for record in records:
        parts.append(len(record).to_bytes(2, "big") + record)
    return b"".join(parts) + der


def unpack_signed_answer(bytes body not None):
    cdef Cursor c
    cdef Fault fault
    open_cursor(&c, octets_of(body), &fault)
    records = []
    for _ in range(one_byte(&c)):
        length = fixed(&c, 2)
        records.append(fixed(&c, length[0] << 8 | length[1]))
    return tuple(records), fixed(&c, octets_left(&c))
