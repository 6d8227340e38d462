"""Numbers of the wire and of the house, shared by every compiled module."""

cpdef enum:
    # OCSPResponseStatus, RFC 6960 4.2.1; 4 does not exist
    SUCCESSFUL = 0
    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6

cpdef enum:
    # Unsigned error answers, RFC 6960 4.2.1
    ERROR_BYTES = 5               # of the OCSPResponse that has a status and nothing else
    TRY_LATER_S = 5               # Retry-After beside tryLater
    LIMITED_S = 60                # Retry-After of a client over the rate limit

cpdef enum:
    # CertStatus, by the number of its context tag
    GOOD = 0
    REVOKED = 1
    UNKNOWN = 2

cpdef enum:
    # hashAlgorithm of a CertID, one byte; PARAMETERS_ABSENT is or-ed on when the
    # AlgorithmIdentifier came without its NULL, so that the answer repeats the CertID byte for byte
    HASH_NONE = 0
    SHA1 = 1
    SHA256 = 2
    SHA384 = 3
    SHA512 = 4
    HASH_MASK = 0x0F
    PARAMETERS_ABSENT = 0x80

cpdef enum:
    NO_REASON = 255          # CRLReason byte of a record without a reason
    MAX_MAGNITUDE = 20       # bytes of a serialNumber, RFC 5280 4.1.2.2
    MAX_SERIAL = 21          # bytes of a serial number's key: a negative one has a byte 00 in front (serial.pxd)
    MAX_HASH = 64
