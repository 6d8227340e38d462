"""Numbers of the wire and of the house; codes.pxd is the one list, this is its view from Python."""

from typing import Final

# OCSPResponseStatus, RFC 6960 4.2.1; 4 does not exist
SUCCESSFUL: Final = 0
MALFORMED_REQUEST: Final = 1
INTERNAL_ERROR: Final = 2
TRY_LATER: Final = 3
SIG_REQUIRED: Final = 5
UNAUTHORIZED: Final = 6

# Unsigned error answers, RFC 6960 4.2.1
ERROR_BYTES: Final = 5  # of the OCSPResponse that has a status and nothing else
TRY_LATER_S: Final = 5  # Retry-After beside tryLater
LIMITED_S: Final = 60  # Retry-After of a client over the rate limit

# CertStatus, by the number of its context tag
GOOD: Final = 0
REVOKED: Final = 1
UNKNOWN: Final = 2

# hashAlgorithm of a CertID, one byte; PARAMETERS_ABSENT is or-ed on when the
# AlgorithmIdentifier came without its NULL, so that the answer repeats the CertID byte for byte
HASH_NONE: Final = 0
SHA1: Final = 1
SHA256: Final = 2
SHA384: Final = 3
SHA512: Final = 4
HASH_MASK: Final = 0x0F
PARAMETERS_ABSENT: Final = 0x80

NO_REASON: Final = 255  # CRLReason byte of a record without a reason
MAX_MAGNITUDE: Final = 20  # bytes of a serialNumber, RFC 5280 4.1.2.2
MAX_SERIAL: Final = 21  # bytes of a serial number's key: a negative one has a byte 00 in front (serial.pxd)
MAX_HASH: Final = 64
