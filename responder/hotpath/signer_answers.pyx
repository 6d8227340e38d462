"""Answers signed for their asker: the signer's frame in, the gate, HTTP out, without Python.

Only the plain way is here. A refusal is the one that Python would write; what the gate does not let pass, and every
pending on a line that breaks, goes to Python as the letter that was kept for it. Whichever way it goes, a query
keeps its place in the lane until its answer is there; one that the signer does not answer in time is told `tryLater`.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free

from _fastocsp.ocsp.signer_wire cimport DONE, DONE_ONCE, AnswerQuery, Frame, SignedAnswer, read_signed
from _fastocsp.wire.codes cimport TRY_LATER, UNAUTHORIZED
from _fastocsp.http.response cimport MAX_HEAD_OCTETS, put_no_store_head
from _fastocsp.wire.sink cimport Sink, open_sink, put_octets, sink_room
from responder.hotpath.connections cimport Connection
from responder.hotpath.http_exchange cimport LINE_LOST, Exchange
from responder.hotpath.gate cimport GATE_CONTRADICTED, GATE_PASS
from responder.hotpath.signer_client cimport PendingSignature
from responder.hotpath.mailbox cimport Letter, new_letter
from responder.hotpath.posix cimport monotonic_ns
from responder.hotpath.sockets cimport OUT_OCTETS

from responder.telemetry import INDEX

cdef uint64_t ALL_TIME = 0xFFFFFFFFFFFFFFFF
cdef size_t AT_NONCE = INDEX["answers:nonce"]
cdef size_t AT_CONTRADICTED = INDEX["contradicted"]
cdef size_t AT_SIGNED_LIVE = INDEX["signed_live"]
cdef size_t AT_SIGNER_FAILED = INDEX["signer_failed"]


cdef void take_signer_socket(Exchange x, int fd) noexcept nogil:
    leave_all_to_python(x)
    if not x.signer.open(fd):
        drop_signer(x)


cdef void flush_queries(Exchange x) noexcept nogil:
    if not x.signer.flush():
        drop_signer(x)


cdef void read_signer(Exchange x) noexcept nogil:
    cdef Frame frame
    cdef int got = 1
    if x.signer.fd < 0:
        return
    if not x.signer.receive():
        got = -1
    while got > 0:
        got = x.signer.next(&frame)
        if got > 0 and not on_frame(x, &frame):
            got = -1
    if got < 0:
        drop_signer(x)


cdef void refuse_overdue(Exchange x) noexcept nogil:
    cdef PendingSignature* pending = x.signer.overdue(x.now_ns)
    cdef Sink out
    while pending != NULL:
        open_sink(&out, x.out, OUT_OCTETS)
        x.count(AT_SIGNER_FAILED)
        refuse(x, pending, TRY_LATER, &out)
        pending = x.signer.overdue(x.now_ns)


cdef void drop_signer(Exchange x) noexcept nogil:
    """What is under way is Python's from here on, and so is the making of another line."""
    x.signer.hang_up()
    leave_all_to_python(x)
    x.to_python.put(new_letter(LINE_LOST, 0, 0, NULL, 0))


cdef void leave_all_to_python(Exchange x) noexcept nogil:
    cdef PendingSignature* pending = x.signer.overdue(ALL_TIME)
    while pending != NULL:
        leave_to_python(x, pending)
        pending = x.signer.overdue(ALL_TIME)


cdef bint on_frame(Exchange x, const Frame* frame) noexcept nogil:
    cdef PendingSignature* pending = x.signer.find(frame.number)
    cdef SignedAnswer signed_
    cdef Sink out
    if pending == NULL:
        return True
    open_sink(&out, x.out, OUT_OCTETS)
    if frame.kind != DONE and frame.kind != DONE_ONCE:
        refuse(x, pending, UNAUTHORIZED if frame.kind == UNAUTHORIZED else TRY_LATER, &out)
        return True
    if read_signed(frame.body, &signed_) < 0:
        return False
    x.count(AT_SIGNED_LIVE)
    if put_signed(x, &pending.query, &signed_, x.keep_alive_of(pending.letter), &out):
        answer_client(x, pending, &out)
    else:
        leave_to_python(x, pending)
    return True


cdef void refuse(Exchange x, PendingSignature* pending, int status, Sink* out) noexcept nogil:
    cdef int keep_alive = x.keep_alive_of(pending.letter)
    x.lane.lock.take()
    x.put_refusal(status, keep_alive, out)
    x.lane.lock.give()
    answer_client(x, pending, out)


cdef bint put_signed(Exchange x, const AnswerQuery* query, const SignedAnswer* signed_, int keep_alive,
                     Sink* out) noexcept nogil:
    cdef int verdict
    if signed_.der.n + MAX_HEAD_OCTETS > sink_room(out):
        return False
    x.lane.lock.take()
    put_no_store_head(out, signed_.der.n, 0, x.lane.date, keep_alive)
    put_octets(out, signed_.der)
    verdict = x.lane.gate.check(query.issuer_no, query.serial, query.serial_len, &signed_.record)
    if verdict != GATE_PASS:
        verdict = x.lane.gate.check_fenced(verdict, query.issuer_no, query.serial, query.serial_len, &signed_.record)
    x.lane.lock.give()
    if verdict == GATE_PASS:
        x.count(AT_NONCE)
    elif verdict == GATE_CONTRADICTED:
        x.count(AT_CONTRADICTED)
    return verdict == GATE_PASS


cdef void answer_client(Exchange x, PendingSignature* pending, Sink* out) noexcept nogil:
    cdef Letter* letter = x.signer.settle(pending)
    cdef Connection* c = x.connections.get(letter.slot, letter.generation)
    free(letter)
    x.slow_under_way -= 1
    x.nonces_under_way -= 1
    if c == NULL or not c.waiting:
        return
    c.waiting = False
    x.now_ns = monotonic_ns()
    if x.write_out(c, out):
        x.go_on(c, True)


cdef void leave_to_python(Exchange x, PendingSignature* pending) noexcept nogil:
    x.to_python.put(x.signer.settle(pending))
