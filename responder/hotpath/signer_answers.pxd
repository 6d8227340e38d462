"""Answers that the signer makes for one asker, on the connections of one loop."""

from _fastocsp.ocsp.signer_wire cimport Asked, Frame, SignedAnswer
from _fastocsp.wire.sink cimport Sink
from responder.hotpath.http_exchange cimport Exchange
from responder.hotpath.signer_client cimport Question

cdef class Live(Exchange):
    # Take this socket as the line, -1 for none
    cdef void take_line(self, int fd) noexcept nogil
    # The line has something to say
    cdef void hear_signer(self) noexcept nogil
    # Send what was asked in this turn
    cdef void ask_signer(self) noexcept nogil
    # Answer `tryLater` to those who have waited for too long
    cdef void give_up_overdue(self) noexcept nogil
    cdef void lose_line(self) noexcept nogil
    cdef void leave_all_to_python(self) noexcept nogil
    # False for what no signer says
    cdef bint on_frame(self, const Frame* frame) noexcept nogil
    # False: the gate would not let it pass, or it is too long; nothing was written
    cdef bint put_signed(self, const Asked* asked, const SignedAnswer* signed_, bint keep_alive,
                         Sink* out) noexcept nogil
    cdef void refuse(self, Question* question, int status, Sink* out) noexcept nogil
    # Whoever asked is told what is in the sink
    cdef void tell(self, Question* question, Sink* out) noexcept nogil
    cdef void leave_to_python(self, Question* question) noexcept nogil
