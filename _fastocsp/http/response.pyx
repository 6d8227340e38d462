"""Heads of cacheable OCSP answers (RFC 9919 7.2, RFC 9110 8.8 and 13) and the conditions that make them a 304.

max-age is counted from the caller's `now`, has a limit, and ends at nextUpdate at the latest, as Expires does;
Last-Modified is thisUpdate. The entity tag is the end of the signature as the record keeps it, which no two different
answers share. The cold lane writes the same heads from Python; a test holds both equal byte for byte.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from _fastocsp.wire.gentime cimport FIXDATE, calendar_of, store_fixdate
from _fastocsp.http.headers cimport CONNECTION_CLOSE, CONNECTION_KEPT, Span
from _fastocsp.ocsp.record cimport read_record
from _fastocsp.wire.sink cimport Sink, claim, open_sink, put_octets, put_static, sink_used, store_hex

from _fastocsp.wire.errors import MalformedRecord
from _fastocsp.wire.gentime import imf_fixdate

cdef enum:
    TAG_OCTETS = 16               # bytes of the signature in the entity tag, which shows them as hex
    BEFORE_TAG = 47               # bytes between a value and the one before it
    BEFORE_MODIFIED = 17
    BEFORE_EXPIRES = 11
    BEFORE_DATE = 8
    CLOSE = 19                    # of `Connection: close` with its line's beginning
    KEEP_ALIVE = 24               # of `Connection: keep-alive` likewise
    END_OF_HEAD = 4

cdef const char* MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"


cdef Octets decimal(uint64_t number, uint8_t* room) noexcept nogil:
    """Its digits, at the end of a room of DECIMAL_OCTETS."""
    cdef Octets run
    run.p, run.n = room + DECIMAL_OCTETS, 0
    while True:
        run.p -= 1
        run.n += 1
        room[DECIMAL_OCTETS - run.n] = <uint8_t>(48 + number % 10)
        number //= 10
        if number == 0:
            return run


cdef void put_decimal(Sink* s, uint64_t number) noexcept nogil:
    cdef uint8_t room[DECIMAL_OCTETS]
    put_octets(s, decimal(number, room))


cdef Octets max_age_of(const RecordHead* record, Freshness fresh, uint8_t* room) noexcept nogil:
    """Its digits, in a room of DECIMAL_OCTETS."""
    cdef uint32_t left = record.next_update - fresh.now if record.next_update > fresh.now else 0
    return decimal(left if left < fresh.limit else fresh.limit, room)


cdef Octets tag_octets(const RecordHead* record) noexcept nogil:
    cdef Octets run
    run.n = TAG_OCTETS if record.signature_len >= TAG_OCTETS else record.signature_len
    run.p = record.signature + record.signature_len - run.n
    return run


cdef inline size_t tag_size(Octets tag) noexcept nogil:
    """Bytes of the entity tag, quotes included."""
    return 2 * tag.n + 2


cdef inline void store_tag(uint8_t* to, Octets tag) noexcept nogil:
    to[0] = to[2 * tag.n + 1] = c'"'
    store_hex(to + 1, tag.p, tag.n)


cdef void put_tag(Sink* s, const RecordHead* record) noexcept nogil:
    cdef Octets tag = tag_octets(record)
    cdef uint8_t* to = claim(s, tag_size(tag))
    if to != NULL:
        store_tag(to, tag)


cdef void fill_cache_values(CacheValues* values, const RecordHead* record, const uint8_t* date) noexcept nogil:
    values.tag, values.date = tag_octets(record), date
    values.this_update, values.next_update = calendar_of(record.this_update), calendar_of(record.next_update)


cdef void store_cache_values(uint8_t* end, const CacheValues* values, int keep_alive) noexcept nogil:
    """From the last to the first; between them lies what put_cache_fields has put there."""
    end -= END_OF_HEAD
    if keep_alive != CONNECTION_KEPT:
        end -= CLOSE if keep_alive == CONNECTION_CLOSE else KEEP_ALIVE
    end -= FIXDATE
    memcpy(end, values.date, FIXDATE)
    end -= BEFORE_DATE + FIXDATE
    store_fixdate(end, &values.next_update)
    end -= BEFORE_EXPIRES + FIXDATE
    store_fixdate(end, &values.this_update)
    end -= BEFORE_MODIFIED + tag_size(values.tag)
    store_tag(end, values.tag)
    end -= BEFORE_TAG + values.max_age.n
    memcpy(end, values.max_age.p, values.max_age.n)


cdef void put_cache_fields(Sink* s, const RecordHead* record, Freshness fresh, const uint8_t* date,
                           int keep_alive) noexcept nogil:
    cdef uint8_t room[DECIMAL_OCTETS]
    cdef CacheValues values
    values.max_age = max_age_of(record, fresh, room)
    fill_cache_values(&values, record, date)
    put_static(s, b"Cache-Control: max-age=", 23)
    claim(s, values.max_age.n)
    put_static(s, b", public, no-transform, must-revalidate\r\nETag: ", BEFORE_TAG)
    claim(s, tag_size(values.tag))
    put_static(s, b"\r\nLast-Modified: ", BEFORE_MODIFIED)
    claim(s, FIXDATE)
    put_static(s, b"\r\nExpires: ", BEFORE_EXPIRES)
    claim(s, FIXDATE)
    put_static(s, b"\r\nDate: ", BEFORE_DATE)
    claim(s, FIXDATE)
    put_end(s, keep_alive)
    if not s.overflow:
        store_cache_values(s.p, &values, keep_alive)


cdef void put_connection(Sink* s, int keep_alive) noexcept nogil:
    if keep_alive == CONNECTION_KEPT:
        return
    if keep_alive == CONNECTION_CLOSE:
        put_static(s, b"\r\nConnection: close", CLOSE)
    else:
        put_static(s, b"\r\nConnection: keep-alive", KEEP_ALIVE)


cdef inline void put_end(Sink* s, int keep_alive) noexcept nogil:
    """The end of every head."""
    put_connection(s, keep_alive)
    put_static(s, b"\r\n\r\n", END_OF_HEAD)


cdef void put_ok_head(Sink* s, size_t body_len, const RecordHead* record, Freshness fresh, const uint8_t* date,
                      int keep_alive) noexcept nogil:
    put_static(s, b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: ", 74)
    put_decimal(s, body_len)
    put_static(s, b"\r\n", 2)
    put_cache_fields(s, record, fresh, date, keep_alive)


cdef void put_no_store_head(Sink* s, size_t body_len, int retry_after, const uint8_t* date,
                            int keep_alive) noexcept nogil:
    cdef Octets run
    put_static(s, b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: ", 74)
    put_decimal(s, body_len)
    put_static(s, b"\r\nCache-Control: no-store", 25)
    if retry_after:
        put_static(s, b"\r\nRetry-After: ", 15)
        put_decimal(s, retry_after)
    put_static(s, b"\r\nDate: ", BEFORE_DATE)
    run.p, run.n = date, FIXDATE
    put_octets(s, run)
    put_end(s, keep_alive)


cdef void put_not_modified_head(Sink* s, const RecordHead* record, Freshness fresh, const uint8_t* date,
                                int keep_alive) noexcept nogil:
    put_static(s, b"HTTP/1.1 304 Not Modified\r\n", 27)
    put_cache_fields(s, record, fresh, date, keep_alive)


cdef bint record_listed(Span list_, const RecordHead* record) noexcept nogil:
    """If-None-Match names the tag of this record's answer."""
    cdef uint8_t ours[2 * TAG_OCTETS + 2]
    cdef Sink s
    open_sink(&s, ours, sizeof(ours))
    put_tag(&s, record)
    return tag_listed(list_, ours, sink_used(&s))


cdef bint tag_listed(Span list_, const uint8_t* ours, size_t n) noexcept nogil:
    """If-None-Match = "*" / #entity-tag, weak comparison (RFC 9110 13.1.2, 8.8.3.2)."""
    cdef size_t i = 0
    cdef size_t begin
    if list_.n == 1 and list_.p[0] == 0x2A:
        return True
    while i < list_.n:
        if list_.p[i] == 0x20 or list_.p[i] == 0x09 or list_.p[i] == 0x2C:
            i += 1
            continue
        if list_.n - i >= 2 and list_.p[i] == 0x57 and list_.p[i + 1] == 0x2F:
            i += 2
        begin = i
        if i >= list_.n or list_.p[i] != 0x22:
            return False
        i += 1
        while i < list_.n and list_.p[i] != 0x22:
            i += 1
        if i >= list_.n:
            return False
        i += 1
        if i - begin == n and memcmp(list_.p + begin, ours, n) == 0:
            return True
    return False


cdef inline int two(const uint8_t* p) noexcept nogil:
    """A two-digit number, or a large negative one."""
    if not 0x30 <= p[0] <= 0x39 or not 0x30 <= p[1] <= 0x39:
        return -10000
    return (p[0] - 0x30) * 10 + p[1] - 0x30


cdef inline int days_of(int year, int month) noexcept nogil:
    """Days of the month, 0 for January."""
    if month == 1:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 3 or month == 5 or month == 8 or month == 10 else 31


cdef long long fixdate_seconds(Span value) noexcept nogil:
    cdef const uint8_t* p = value.p
    cdef int month = 0
    cdef int year, day, hour, minute, second
    cdef long long days
    if (value.n != 29 or p[3] != 0x2C or p[4] != 0x20 or p[7] != 0x20 or p[11] != 0x20 or p[16] != 0x20
            or p[19] != 0x3A or p[22] != 0x3A or memcmp(p + 25, b" GMT", 4) != 0):
        return -1
    while month < 12 and memcmp(MONTHS + 3 * month, p + 8, 3) != 0:
        month += 1
    day = two(p + 5)
    year = two(p + 12) * 100 + two(p + 14)
    hour = two(p + 17)
    minute = two(p + 20)
    second = two(p + 23)
    if month == 12 or not 1 <= day <= days_of(year, month) or year < 1970 \
            or not 0 <= hour < 24 or not 0 <= minute < 60 \
            or not 0 <= second <= 60:
        return -1
    # days from 1 March 0000, so that the leap day ends a year
    if month < 2:
        year -= 1
    month = (month + 10) % 12
    days = <long long>365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
    return days * 86400 + hour * 3600 + minute * 60 + second


cdef bint not_modified(Span if_none_match, Span if_modified_since, const RecordHead* record) noexcept nogil:
    """True when the client's copy is still right (RFC 9110 13.2.2); If-None-Match silences If-Modified-Since."""
    if if_none_match.n:
        return record_listed(if_none_match, record)
    return if_modified_since.n != 0 and fixdate_seconds(if_modified_since) >= <long long>record.this_update


cdef Span _span(bytes octets):
    cdef Span s
    s.p = octets
    s.n = len(octets)
    return s


def is_not_modified(bytes if_none_match not None, bytes if_modified_since not None, bytes record not None):
    """The same decision for the cold lane; b"" stands for an absent field."""
    cdef RecordHead head
    if read_record(record, len(record), &head) != 0:
        raise MalformedRecord("not a record", 0)
    return not_modified(_span(if_none_match), _span(if_modified_since), &head)


def entity_tag(bytes record not None):
    """The entity tag of this record's answer, quotes included."""
    cdef RecordHead head
    cdef uint8_t tag[2 * TAG_OCTETS + 2]
    cdef Sink s
    if read_record(record, len(record), &head) != 0:
        raise MalformedRecord("not a record", 0)
    open_sink(&s, tag, sizeof(tag))
    put_tag(&s, &head)
    return (<const char*>tag)[:sink_used(&s)]


def encode_head(bytes record not None, uint32_t now, body_len, int keep_alive=1, uint32_t max_age=0xFFFFFFFF):
    """The head that the hot lane writes before a body of so many bytes, or of the 304 when body_len is None."""
    cdef RecordHead head
    cdef uint8_t octets[MAX_HEAD_OCTETS]
    cdef bytes date = imf_fixdate(now).encode()
    cdef Freshness fresh
    cdef Sink s
    if read_record(record, len(record), &head) != 0:
        raise MalformedRecord("not a record", 0)
    fresh.now, fresh.limit = now, max_age
    open_sink(&s, octets, sizeof(octets))
    if body_len is None:
        put_not_modified_head(&s, &head, fresh, date, keep_alive)
    else:
        put_ok_head(&s, body_len, &head, fresh, date, keep_alive)
    return (<const char*>octets)[:sink_used(&s)]


def parse_fixdate(bytes value not None):
    """Epoch seconds of an IMF-fixdate, or None."""
    seconds = fixdate_seconds(_span(value))
    return None if seconds < 0 else seconds
