"""Times on the wire: epoch seconds to GeneralizedTime (RFC 5280 4.1.2.5.2) and IMF-fixdate (RFC 9110 5.6.7).

Pure integer arithmetic over 1970-01-01 .. 2106-02-07, the range of 32 unsigned bits, which is all that answers need;
`store_day` alone goes to 9999, for CRL entries. No clock, no time zone.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from _fastocsp.wire.der cimport GENERALIZED_TIME
from _fastocsp.wire.sink cimport Sink, claim, store_two_digits

cdef enum:
    TIME_TLV = 17                 # bytes of a GeneralizedTime element
    TIME_CONTENT = 15             # and of its content
    FIXDATE = 29                  # bytes of an IMF-fixdate

cdef struct Calendar:
    unsigned int year
    unsigned int month            # 1..12
    unsigned int day              # 1..31
    unsigned int weekday          # 0 is Sunday
    unsigned int hour
    unsigned int minute
    unsigned int second


cdef inline Calendar calendar_of(uint32_t seconds) noexcept nogil:
    """Years are counted from 1 March 1968, so that a leap day ends a cycle of four years of 1461 days."""
    cdef Calendar c
    cdef uint32_t days = seconds // 86400
    cdef uint32_t since = days + 671                          # days from 1968-03-01 to 1970-01-01
    cdef uint32_t year, day_of_year, month
    if days >= 47541:                                         # 2100-03-01: 2100 has no 29 February
        since += 1
    year = since % 1461 // 365
    if year == 4:                                             # the leap day itself
        year = 3
    day_of_year = since % 1461 - 365 * year
    month = (5 * day_of_year + 2) // 153                      # 0 is March; five months have 153 days
    c.day = day_of_year - (153 * month + 2) // 5 + 1
    c.month = month + 3 if month < 10 else month - 9
    c.year = 1968 + since // 1461 * 4 + year + (1 if month >= 10 else 0)
    c.weekday = (days + 4) % 7                                # the epoch was a Thursday
    c.hour = seconds % 86400 // 3600
    c.minute = seconds % 3600 // 60
    c.second = seconds % 60
    return c


cdef inline void store_day(uint8_t* to, int64_t day) noexcept nogil:
    """YYYYMMDD of a day counted from the epoch, up to 9999-12-31, to where 8 bytes were claimed.

    A year begins in March here, so that a leap day ends it.
    """
    cdef uint64_t since = <uint64_t>(day + 719468)            # days since 0000-03-01
    cdef uint64_t era = since // 146097
    cdef uint64_t of_era = since % 146097
    cdef uint64_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef uint64_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef uint64_t month = (5 * of_year + 2) // 153            # 0 is March; five months have 153 days
    cdef uint64_t day_of_month = of_year - (153 * month + 2) // 5 + 1
    year += 400 * era + (1 if month >= 10 else 0)
    store_two_digits(to, <unsigned int>(year // 100))
    store_two_digits(to + 2, <unsigned int>(year % 100))
    store_two_digits(to + 4, <unsigned int>(month + 3 if month < 10 else month - 9))
    store_two_digits(to + 6, <unsigned int>day_of_month)


cdef inline void store_clock(uint8_t* to, uint32_t second) noexcept nogil:
    """HHMMSS of a second of the day, to where 6 bytes were claimed."""
    store_two_digits(to, second // 3600)
    store_two_digits(to + 2, second // 60 % 60)
    store_two_digits(to + 4, second % 60)


cdef inline void store_time(uint8_t* to, const Calendar* c) noexcept nogil:
    """A GeneralizedTime's content, YYYYMMDDHHMMSSZ, to where 15 bytes were claimed."""
    store_two_digits(to, c.year // 100)
    store_two_digits(to + 2, c.year % 100)
    store_two_digits(to + 4, c.month)
    store_two_digits(to + 6, c.day)
    store_two_digits(to + 8, c.hour)
    store_two_digits(to + 10, c.minute)
    store_two_digits(to + 12, c.second)
    to[14] = c"Z"


cdef inline void store_fixdate(uint8_t* to, const Calendar* c) noexcept nogil:
    """Sun, 06 Nov 1994 08:49:37 GMT, to where 29 bytes were claimed."""
    memcpy(to, "Sun, 06 Nov 1994 08:49:37 GMT", FIXDATE)
    memcpy(to, <const char*>"SunMonTueWedThuFriSat" + 3 * c.weekday, 3)
    store_two_digits(to + 5, c.day)
    memcpy(to + 8, <const char*>"JanFebMarAprMayJunJulAugSepOctNovDec" + 3 * (c.month - 1), 3)
    store_two_digits(to + 12, c.year // 100)
    store_two_digits(to + 14, c.year % 100)
    store_two_digits(to + 17, c.hour)
    store_two_digits(to + 20, c.minute)
    store_two_digits(to + 23, c.second)


cdef inline void put_generalized_time(Sink* s, uint32_t seconds) noexcept nogil:
    """The element: 18 0F YYYYMMDDHHMMSSZ."""
    cdef Calendar c = calendar_of(seconds)
    cdef uint8_t* to = claim(s, TIME_TLV)
    if to == NULL:
        return
    to[0] = GENERALIZED_TIME
    to[1] = TIME_CONTENT
    store_time(to + 2, &c)


cdef inline void put_fixdate(Sink* s, uint32_t seconds) noexcept nogil:
    """An IMF-fixdate."""
    cdef Calendar c = calendar_of(seconds)
    cdef uint8_t* to = claim(s, FIXDATE)
    if to != NULL:
        store_fixdate(to, &c)
