"""Answers that the signer makes for one client, on the connections of one loop."""

from responder.hotpath.http_exchange cimport Exchange

# Take this socket as the connection to the signer
cdef void take_signer_socket(Exchange x, int fd) noexcept nogil
# The signer has written, or has gone
cdef void read_signer(Exchange x) noexcept nogil
# Send the queries of this turn
cdef void flush_queries(Exchange x) noexcept nogil
# Answer `tryLater` where the signer did not answer in time
cdef void refuse_overdue(Exchange x) noexcept nogil
