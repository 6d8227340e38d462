"""Answers signed for their asker: the signer's frame in, the gate, HTTP out, without Python.

Only the plain way is here. A refusal is the one that Python would write; what the gate does not let pass, and every
question on a line that breaks, goes to Python as the letter that was kept for it. Whichever way it goes, a question
keeps its place in the lane until its answer is there; one that the signer does not answer in time is told `tryLater`.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free

from _fastocsp.ocsp.signer_wire cimport DONE, DONE_ONCE, Asked, Frame, SignedAnswer, read_signed
from _fastocsp.wire.codes cimport TRY_LATER, UNAUTHORIZED
from _fastocsp.http.response cimport MAX_HEAD_OCTETS, put_no_store_head
from _fastocsp.wire.sink cimport Sink, open_sink, put_octets, sink_room
from responder.hotpath.connections cimport Connection
from responder.hotpath.http_exchange cimport LINE_LOST, Exchange
from responder.hotpath.gate cimport GATE_CONTRADICTED, GATE_PASS
from responder.hotpath.signer_client cimport Question
from responder.hotpath.mailbox cimport Letter, new_letter
from responder.hotpath.posix cimport monotonic_ns
from responder.hotpath.sockets cimport OUT_OCTETS

from responder.telemetry import INDEX

cdef uint64_t ALL_TIME = 0xFFFFFFFFFFFFFFFF
cdef size_t AT_NONCE = INDEX["answers:nonce"]
cdef size_t AT_CONTRADICTED = INDEX["contradicted"]
cdef size_t AT_SIGNED_LIVE = INDEX["signed_live"]
cdef size_t AT_SIGNER_FAILED = INDEX["signer_failed"]


cdef class Live(Exchange):
    """What happens on the line of one loop."""

    cdef void take_line(self, int fd) noexcept nogil:
        self.leave_all_to_python()
        if not self.line.open(fd):
            self.lose_line()

    cdef void ask_signer(self) noexcept nogil:
        if not self.line.flush():
            self.lose_line()

    cdef void hear_signer(self) noexcept nogil:
        cdef Frame frame
        cdef int got = 1
        if self.line.fd < 0:
            return
        if not self.line.receive():
            got = -1
        while got > 0:
            got = self.line.next(&frame)
            if got > 0 and not self.on_frame(&frame):
                got = -1
        if got < 0:
            self.lose_line()

    cdef void give_up_overdue(self) noexcept nogil:
        cdef Question* question = self.line.overdue(self.now_ns)
        cdef Sink out
        while question != NULL:
            open_sink(&out, self.out, OUT_OCTETS)
            self.count(AT_SIGNER_FAILED)
            self.refuse(question, TRY_LATER, &out)
            question = self.line.overdue(self.now_ns)

    cdef void lose_line(self) noexcept nogil:
        """What is under way is Python's from here on, and so is the making of another line."""
        self.line.hang_up()
        self.leave_all_to_python()
        self.to_python.put(new_letter(LINE_LOST, 0, 0, NULL, 0))

    cdef void leave_all_to_python(self) noexcept nogil:
        cdef Question* question = self.line.overdue(ALL_TIME)
        while question != NULL:
            self.leave_to_python(question)
            question = self.line.overdue(ALL_TIME)

    cdef bint on_frame(self, const Frame* frame) noexcept nogil:
        cdef Question* question = self.line.find(frame.number)
        cdef SignedAnswer signed_
        cdef Sink out
        if question == NULL:
            return True
        open_sink(&out, self.out, OUT_OCTETS)
        if frame.kind != DONE and frame.kind != DONE_ONCE:
            self.refuse(question, UNAUTHORIZED if frame.kind == UNAUTHORIZED else TRY_LATER, &out)
            return True
        if read_signed(frame.body, &signed_) < 0:
            return False
        self.count(AT_SIGNED_LIVE)
        if self.put_signed(&question.asked, &signed_, not self.closes(question.letter), &out):
            self.tell(question, &out)
        else:
            self.leave_to_python(question)
        return True

    cdef void refuse(self, Question* question, int status, Sink* out) noexcept nogil:
        cdef bint keep_alive = not self.closes(question.letter)
        self.lane.lock.take()
        self.put_refusal(status, keep_alive, out)
        self.lane.lock.give()
        self.tell(question, out)

    cdef bint put_signed(self, const Asked* asked, const SignedAnswer* signed_, bint keep_alive,
                         Sink* out) noexcept nogil:
        cdef int verdict
        if signed_.der.n + MAX_HEAD_OCTETS > sink_room(out):
            return False
        self.lane.lock.take()
        put_no_store_head(out, signed_.der.n, 0, self.lane.date, keep_alive)
        put_octets(out, signed_.der)
        verdict = self.lane.gate.check(asked.issuer_no, asked.serial, asked.serial_len, &signed_.record)
        self.lane.lock.give()
        if verdict == GATE_PASS:
            self.count(AT_NONCE)
        elif verdict == GATE_CONTRADICTED:
            self.count(AT_CONTRADICTED)
        return verdict == GATE_PASS

    cdef void tell(self, Question* question, Sink* out) noexcept nogil:
        cdef Letter* letter = self.line.settle(question)
        cdef Connection* c = self.connections.get(letter.slot, letter.generation)
        free(letter)
        self.slow_under_way -= 1
        self.nonces_under_way -= 1
        if c == NULL or not c.waiting:
            return
        c.waiting = False
        self.now_ns = monotonic_ns()
        if self.write_out(c, out):
            self.go_on(c, True)

    cdef void leave_to_python(self, Question* question) noexcept nogil:
        self.to_python.put(self.line.settle(question))
