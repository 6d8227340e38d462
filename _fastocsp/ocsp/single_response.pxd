"""SingleResponse, RFC 6960 4.2.1, from a record: sizes first, then one write. Inline only, there is no .pyx.

The CertID is the one asked (O-13): its head - algorithm with or without NULL, both hashes - comes from the template,
its serial from the request. nextUpdate is always there (O-21), singleExtensions never (O-24).
"""

from _fastocsp.wire.codes cimport NO_REASON, REVOKED
from _fastocsp.wire.der cimport CONSTRUCTED, CONTEXT, ENUMERATED, SEQUENCE, Octets
from _fastocsp.wire.gentime cimport TIME_TLV, put_generalized_time
from _fastocsp.ocsp.record cimport RecordHead
from _fastocsp.wire.serial cimport put_serial, serial_size
from _fastocsp.wire.sink cimport Sink, put_header, put_octet, put_octets, tlv_size

cdef enum:
    EXPLICIT_TIME = 19            # bytes of a GeneralizedTime in an explicit tag
    EXPLICIT_REASON = 5           # bytes of a CRLReason in an explicit tag

cdef struct Single:
    Octets cert_id_head           # CertID content before serialNumber
    Octets serial                 # its key (serial.pxd), not empty
    const RecordHead* record
    size_t cert_id_len            # content bytes of the CertID
    size_t status_len             # content bytes of the CertStatus
    size_t content_len            # content bytes of the SingleResponse


cdef inline bint names_reason(const RecordHead* record) noexcept nogil:
    """`unspecified` is left out, RFC 5280 5.3.1."""
    return record.reason != NO_REASON and record.reason != 0


cdef inline size_t measure_single(Single* single) noexcept nogil:
    """Fills the lengths; returns the bytes of the whole element."""
    single.cert_id_len = single.cert_id_head.n + tlv_size(serial_size(single.serial))
    single.status_len = 0
    if single.record.status == REVOKED:
        single.status_len = TIME_TLV + (EXPLICIT_REASON if names_reason(single.record) else 0)
    single.content_len = (
        tlv_size(single.cert_id_len) + tlv_size(single.status_len) + TIME_TLV + EXPLICIT_TIME
    )
    return tlv_size(single.content_len)


cdef inline void put_status(Sink* s, const Single* single) noexcept nogil:
    # CertStatus ::= CHOICE { good [0] IMPLICIT NULL, revoked [1] IMPLICIT RevokedInfo, unknown [2] IMPLICIT NULL }
    # RevokedInfo ::= SEQUENCE { revocationTime GeneralizedTime, revocationReason [0] EXPLICIT CRLReason OPTIONAL }
    if single.record.status != REVOKED:
        put_header(s, CONTEXT | single.record.status, 0)
        return
    put_header(s, CONSTRUCTED | REVOKED, single.status_len)
    put_generalized_time(s, single.record.revocation_time)
    if names_reason(single.record):
        put_header(s, CONSTRUCTED | 0, EXPLICIT_REASON - 2)
        put_header(s, ENUMERATED, 1)
        put_octet(s, single.record.reason)


cdef inline void put_single(Sink* s, const Single* single) noexcept nogil:
    # SingleResponse ::= SEQUENCE { certID CertID, certStatus CertStatus, thisUpdate GeneralizedTime,
    #                               nextUpdate [0] EXPLICIT GeneralizedTime OPTIONAL, singleExtensions [1] .. OPTIONAL }
    put_header(s, SEQUENCE, single.content_len)
    put_header(s, SEQUENCE, single.cert_id_len)
    put_octets(s, single.cert_id_head)
    put_serial(s, single.serial)
    put_status(s, single)
    put_generalized_time(s, single.record.this_update)
    put_header(s, CONSTRUCTED | 0, EXPLICIT_TIME - 2)
    put_generalized_time(s, single.record.next_update)
