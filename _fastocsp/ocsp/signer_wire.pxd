"""What an edge and the signer of its host say to each other, without Python: frames, a question, a signed answer."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from _fastocsp.wire.codes cimport MAX_SERIAL
from _fastocsp.wire.der cimport Octets
from _fastocsp.ocsp.record cimport RecordHead
from _fastocsp.wire.sink cimport Sink

cpdef enum:
    ASK_RECORD = 1                # kinds asked
    ASK_ANSWER = 2
    DONE = 0                      # kinds returned, besides an OCSPResponseStatus
    DONE_ONCE = 4
    FRAME_HEAD = 9                # bytes before a frame's body
    MAX_FRAME = 1048576           # bytes behind its length field
    MAX_NONCE = 32                # bytes of the nonce of a question about one certificate

cdef struct AnswerQuery:                # one certificate, and a nonce for its answer
    uint16_t issuer_no            # 0: nothing is asked
    uint8_t hash_algorithm        # codes.SHA1.. | PARAMETERS_ABSENT
    uint8_t serial_len
    uint8_t nonce_len
    uint8_t serial[MAX_SERIAL]
    uint8_t nonce[MAX_NONCE]

cdef struct Frame:
    uint32_t number
    uint8_t kind
    Octets body                   # borrowed

cdef struct SignedAnswer:              # an answer about one certificate
    RecordHead record             # what it states; borrows from the frame
    Octets der                    # the OCSPResponse, borrowed

# Appends the ASK_ANSWER frame; the sink overflows when it has no room
cdef void put_answer_query(Sink* s, uint32_t number, const AnswerQuery* asked) noexcept nogil
# 1 and moves over the frame; 0 while it is not whole; -1 for what cannot become a frame
cdef int next_frame(Octets* octets, Frame* out) noexcept nogil
# 0, or -1 for a body that is not one record and something behind it
cdef int read_signed(Octets body, SignedAnswer* out) noexcept nogil
# 0, or -1 for an ASK_ANSWER body that asks for anything but one certificate and a nonce of 1..MAX_NONCE bytes
cdef int read_asked(Octets body, AnswerQuery* out) noexcept nogil
