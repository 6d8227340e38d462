"""Answers with a nonce about certificates of which the same is stated, a batch of questions at a time.

All that differs between two of them is the serial number, the nonce and the signature, so no line of Python runs for
one: a question is read, looked up, written down, signed by one call of the key, and framed. Whatever is not that plain
is handed back for Python to decide.
"""

from _fastocsp.ocsp.response cimport Template
from _fastocsp.ocsp.signer_wire cimport ASK_ANSWER, AnswerQuery, Frame, next_frame, read_asked
from _fastocsp.revoked.image cimport RevokedImage
from _fastocsp.revoked.lookup cimport ABSENT, RevokedEntry, find_fence, find_revoked
from _fastocsp.wire.der cimport Octets
from _fastocsp.wire.sink cimport octets_of

from _fastocsp.ocsp.response import encode_signed
from _fastocsp.ocsp.signer_wire import pack_signed
from _fastocsp.wire.errors import WireError


cdef class SharedStatement:

    def __cinit__(self, Template template not None, bytes record not None, long long until, sign):
        self.template, self.record, self.until, self.sign = template, record, until, sign


cdef SharedStatement statement_of(const AnswerQuery* asked, bytes serial, dict shared, recent, RevokedImage listed):
    """The statement that holds for this certificate; None when it is not in memory, the certificate is listed, or
    its issuer fenced."""
    cdef SharedStatement stated = shared.get((asked.issuer_no, asked.hash_algorithm))
    cdef RevokedEntry entry
    cdef tuple issued = (asked.issuer_no, serial)
    cdef object not_after = recent.get(issued)
    if stated is None or not_after is None or not_after < stated.until:
        return None
    if find_revoked(listed.image, asked.issuer_no, asked.serial, asked.serial_len, &entry) != ABSENT:
        return None
    if find_fence(listed.image, asked.issuer_no):
        return None
    recent.move_to_end(issued)
    return stated


cdef bytes signed_answer(SharedStatement stated, uint32_t number, bytes serial, bytes nonce):
    cdef bytes tbs = stated.template.response_data(serial, stated.record, nonce)
    return pack_signed(number, stated.record, encode_signed(stated.template, tbs, stated.sign(tbs)))


def answer_batch(bytes octets not None, Py_ssize_t most, dict shared not None, recent not None,
                 RevokedImage listed not None):
    cdef Octets rest = octets_of(octets)
    cdef Frame frame
    cdef AnswerQuery asked
    cdef SharedStatement stated
    cdef bytes serial
    cdef int got = 0
    cdef Py_ssize_t read = 0
    answers, left, failed = [], [], []
    while read < most:
        got = next_frame(&rest, &frame)
        if got <= 0:
            break
        read += 1
        stated = None
        if frame.kind == ASK_ANSWER and read_asked(frame.body, &asked) == 0:
            serial = asked.serial[:asked.serial_len]
            stated = statement_of(&asked, serial, shared, recent, listed)
        if stated is None:
            left.append((frame.number, frame.kind, (<const char*>frame.body.p)[:frame.body.n]))
            continue
        try:
            answers.append(signed_answer(stated, frame.number, serial, asked.nonce[:asked.nonce_len]))
        except Exception as error:
            failed.append((frame.number, error))
    if got < 0:
        raise WireError("not a frame", len(octets) - rest.n)
    return answers, left, failed, read, len(octets) - rest.n
