"""Heads of the hot lane's answers, and the conditions of a GET."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _fastocsp.wire.der cimport Octets
from _fastocsp.wire.gentime cimport Calendar
from _fastocsp.http.headers cimport Span
from _fastocsp.ocsp.record cimport RecordHead
from _fastocsp.wire.sink cimport Sink

cdef enum:
    MAX_HEAD_OCTETS = 512         # no head of this module is longer
    DECIMAL_OCTETS = 20           # of the longest number
    NO_LIMIT = 0xFFFFFFFF

cdef struct Freshness:            # how long caches may keep an answer; passed in one register
    uint32_t now                  # epoch seconds
    uint32_t limit                # seconds that max-age has at most; NO_LIMIT: until nextUpdate

cdef struct CacheValues:          # what the cache fields of two answers differ in
    Octets max_age                # its digits
    Octets tag                    # bytes of the entity tag, which shows them as hex
    Calendar this_update
    Calendar next_update
    const uint8_t* date           # of a Date field

# All but max_age
cdef void fill_cache_values(CacheValues* values, const RecordHead* record, const uint8_t* date) noexcept nogil
cdef Octets max_age_of(const RecordHead* record, Freshness fresh, uint8_t* room) noexcept nogil
cdef Octets tag_octets(const RecordHead* record) noexcept nogil
# Write the values over those of the head that ends there, each as wide as the one before
cdef void store_cache_values(uint8_t* end, const CacheValues* values, int keep_alive) noexcept nogil

cdef void put_ok_head(Sink* s, size_t body_len, const RecordHead* record, Freshness fresh, const uint8_t* date,
                      int keep_alive) noexcept nogil
cdef void put_not_modified_head(Sink* s, const RecordHead* record, Freshness fresh, const uint8_t* date,
                                int keep_alive) noexcept nogil
# Of an answer that must not be stored; retry_after 0: no such field
cdef void put_no_store_head(Sink* s, size_t body_len, int retry_after, const uint8_t* date,
                            int keep_alive) noexcept nogil
# If-None-Match names this opaque-tag, quotes included, or "*"
cdef bint tag_listed(Span list_, const uint8_t* ours, size_t n) noexcept nogil
# Epoch seconds of an IMF-fixdate, or -1 for anything else, the obsolete forms included
cdef long long fixdate_seconds(Span value) noexcept nogil
# The Connection field of CONNECTION_*, or none; behind the last field, without its line's end
cdef void put_connection(Sink* s, int keep_alive) noexcept nogil
cdef void put_decimal(Sink* s, uint64_t number) noexcept nogil
cdef bint not_modified(Span if_none_match, Span if_modified_since, const RecordHead* record) noexcept nogil
