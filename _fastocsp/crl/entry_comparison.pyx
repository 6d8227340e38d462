"""Entries of one CRL that another one lacks, and what entries are like as a whole: no Python object per entry.

The CRL before is read in pieces, so that two large CRLs are never in memory together. Entries are read by
`_fastocsp.crl.entry`, which has nothing in common with the writer of CRLs. RFC 5280 5.1.2.6, 5.3.
"""

cimport cython

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memmove

from _fastocsp.crl.entry cimport LATEST_DATE, REMOVE_FROM_CRL, Counts, Entry, order_of, read_entry
from _fastocsp.wire.codes cimport MAX_SERIAL
from _fastocsp.wire.der cimport (
    Cursor, Element, Fault, Octets, fail_at, octets_left, open_cursor, read_element, wire_error,
)
from _fastocsp.wire.sink cimport octets_of

from _fastocsp.wire.errors import WireError

cdef struct Walk:                 # through entries that ascend by the keys of their serial numbers
    Cursor entries
    Entry entry
    Entry before                  # the one before; its serial.n is 0 at the beginning
    bint ended


cdef int advance(Walk* walk, bint is_delta, Counts* counts) noexcept nogil:
    """To the next entry that revokes; -1 at one that is malformed or not in its order."""
    cdef int outcome = 0
    while octets_left(&walk.entries):
        outcome = read_entry(&walk.entries, is_delta, LATEST_DATE, &walk.entry, counts)
        if outcome < 0:
            return -1
        if outcome == 0:
            continue
        if walk.before.serial.n and order_of(&walk.before, &walk.entry) >= 0:
            return fail_at(&walk.entries, walk.entry.serial.p, "the entries do not ascend by serial number")
        walk.before = walk.entry
        if not (is_delta and walk.entry.reason == REMOVE_FROM_CRL):
            return 0
    walk.ended = True
    return 0


cdef int next_vanished(Walk* old, Walk* new, bint is_delta, Counts* counts, Counts* passed) noexcept nogil:
    """1: the entry of `old` has vanished; 0: there are no more; -1."""
    cdef int order
    while not old.ended:
        order = -1 if new.ended else order_of(&old.entry, &new.entry)
        if order < 0:
            return 1
        if (advance(old, is_delta, counts) if order == 0 else advance(new, is_delta, passed)) < 0:
            return -1
    return 0


cdef bytes key_of(const Entry* entry):
    cdef bytes content = (<const char*>entry.serial.p)[:entry.serial.n]
    return b"\0" + content if entry.is_negative else content


cdef enum:
    LONGEST = 1 << 17             # bytes of an entry


cdef size_t whole_elements(Octets octets) noexcept nogil:
    """How many bytes at the front are whole elements; what follows is the beginning of one, or none."""
    cdef Cursor c
    cdef Element element
    cdef Fault ignored
    cdef const uint8_t* end = octets.p
    ignored.at = NULL
    open_cursor(&c, octets, &ignored)
    while octets_left(&c) and read_element(&c, &element) == 0:
        end = c.p
    return <size_t>(end - octets.p)


@cython.final
cdef class EntryComparison:
    """See the stub."""

    cdef const uint8_t[::1] _after
    cdef bint _is_delta, _begun, _finished
    cdef Walk _old, _new
    cdef Fault _fault
    cdef Counts _counts, _passed
    cdef bytes _rest
    cdef uint8_t _last[MAX_SERIAL]    # where _old.before points between two pieces

    def __cinit__(self, after not None, bint is_delta=False):
        cdef Octets octets
        self._after = after
        self._is_delta = is_delta
        self._counts = self._passed = Counts(0, 0, 0, 0, 0)
        self._rest = b""
        self._fault.at = NULL
        octets.p, octets.n = NULL, len(self._after)
        if octets.n:
            octets.p = &self._after[0]
        open_cursor(&self._new.entries, octets, &self._fault)
        self._new.before.serial.n = self._old.before.serial.n = 0
        self._old.before.serial.p = self._last
        self._new.ended = self._begun = False

    @property
    def count(self):
        return self._counts.rows + self._counts.skipped

    def feed(self, piece not None):
        cdef bytes octets = self._rest + bytes(piece)
        cdef Octets whole = octets_of(octets)
        cdef int outcome
        found = []
        if self._finished:
            raise ValueError("the comparison is finished, or has failed")
        self._finished = True         # until this piece is read: _old points into it, and it goes with an error
        whole.n = whole_elements(whole)
        self._rest = octets[whole.n:]
        if len(self._rest) > LONGEST:
            raise WireError("an entry is malformed or too long", 0)
        open_cursor(&self._old.entries, whole, &self._fault)
        self._old.ended = False
        with nogil:
            outcome = 0 if self._begun else advance(&self._new, self._is_delta, &self._passed)
            outcome = outcome or self._next()
        self._begun = True
        while outcome == 1:
            found.append((key_of(&self._old.entry), self._old.entry.revoked_at, self._old.entry.reason,
                          self._old.entry.invalidity_date if self._old.entry.invalidity_date > 0 else None))
            with nogil:
                outcome = self._next()
        if outcome < 0:
            raise WireError("entries are malformed, or do not ascend by serial number", 0)
        memmove(self._last, self._old.before.serial.p, self._old.before.serial.n)
        self._old.before.serial.p = self._last
        self._finished = False
        return found

    cdef int _next(self) noexcept nogil:
        """As next_vanished, of the entries after this one."""
        cdef int outcome = advance(&self._old, self._is_delta, &self._counts)
        return outcome or next_vanished(&self._old, &self._new, self._is_delta, &self._counts, &self._passed)

    def finish(self):
        self._finished = True
        self._after = None
        if self._rest:
            raise WireError("an entry is cut short", 0)


def summarize_entries(entries not None):
    cdef const uint8_t[::1] whole = entries
    cdef Octets octets
    cdef Cursor c
    cdef Fault fault
    cdef Counts counts = Counts(0, 0, 0, 0, 0)
    cdef Entry entry, before
    cdef int64_t latest = 0
    cdef bint ascends = True
    cdef int outcome = 0
    if len(whole) == 0:
        return 0, 0, 0, True
    fault.at = NULL
    octets.p, octets.n = &whole[0], len(whole)
    before.serial.n = 0
    with nogil:
        open_cursor(&c, octets, &fault)
        while outcome >= 0 and octets_left(&c):
            outcome = read_entry(&c, True, LATEST_DATE, &entry, &counts)
            if outcome == 1:
                latest = max(latest, entry.revoked_at)
                ascends = ascends and (before.serial.n == 0 or order_of(&before, &entry) < 0)
                before = entry
    if outcome < 0:
        raise wire_error(WireError, &fault, octets.p)
    return counts.rows, counts.skipped, latest, ascends
