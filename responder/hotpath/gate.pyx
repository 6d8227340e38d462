"""The gate: the only code that safety rests on. It is asked last, right before the bytes leave.

In the revoked set: only a record that says so, with that time and reason, passes. Not in it: a record that says
revoked is contradicted (a hold was released); any other passes while the lease holds. The lease is read before the
set and the clock after it: a lease that this call sees stands for a set that this call sees too, and no time that
passed during the look-up is missed.

The lease of a set with fences is in slots of its own. So `check` does not look for fences: where there is one the lease
is over for it, and `check_fenced` decides, by the other lease and the issuer's fence.

A new image is mapped by Python alone, and takes the place of the old one under the lock: who asks with the lock held
and without the GIL is told GATE_MOVED when the page is ahead, and answers nothing.
"""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from _fastocsp.wire.codes cimport MAX_SERIAL, NO_REASON, REVOKED
from _fastocsp.shared.lock cimport Lock
from _fastocsp.ocsp.record cimport RecordHead, read_record
from _fastocsp.revoked.image cimport RevokedImage
from _fastocsp.revoked.lookup cimport LISTED, RevokedEntry, expect_revoked, find_fence, find_revoked

from _fastocsp.wire.errors import MalformedRecord
from responder.feed.shared import MAGIC, PAGE_NAME, PAGE_SIZE, SLOT_FENCED_BOOT, SLOT_UNTIL_MONO, image_path
from responder.files import open_map

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline uint64_t page_load(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline uint64_t gate_clock(clockid_t id) {
        struct timespec t;
        clock_gettime(id, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t page_load(const uint64_t* p) noexcept nogil
    uint64_t gate_clock(int clock) noexcept nogil
    int CLOCK_BOOTTIME
    int CLOCK_MONOTONIC

cdef enum:
    # responder/feed/shared.py writes these slots
    AT_MAGIC = 0
    AT_IMAGE = 1
    AT_UNTIL_BOOT = 2
    AT_UNTIL_MONO = 3
    AT_FENCED_BOOT = 17
    AT_FENCED_MONO = 18

assert (SLOT_UNTIL_MONO, SLOT_FENCED_BOOT) == (AT_UNTIL_MONO, AT_FENCED_BOOT)


cdef class Gate:
    """The gate over the agent's shared page in `folder`; FileNotFoundError while there is none."""

    def __cinit__(self, folder, Lock lock=None):
        cdef const uint8_t[::1] octets
        self.lock = lock if lock is not None else Lock()
        self._folder = folder
        self._page_map = open_map(folder / PAGE_NAME)
        octets = self._page_map
        self.page = <const uint64_t*>&octets[0]
        if len(octets) != PAGE_SIZE or self.page[AT_MAGIC] != <uint64_t>MAGIC:
            raise ValueError("not a feed page")
        self.remap()

    def remap(self):
        """Map the image that the page names, if it is another one."""
        cdef uint64_t number
        cdef RevokedImage image
        cdef RevokedImage old
        while True:
            number = page_load(self.page + AT_IMAGE)
            if self.image is not None and number == self.number:
                return
            try:
                image = RevokedImage(open_map(image_path(self._folder, number)))
            except FileNotFoundError:
                if page_load(self.page + AT_IMAGE) != number:
                    continue
                raise
            image.check()
            old = self.image
            self.lock.take_gil_held()
            self.image = image
            self.octets = image.image
            self.number = number
            self.lock.give()
            del old
            return

    cdef void expect(self, uint64_t serial_hash) noexcept nogil:
        expect_revoked(self.octets, serial_hash)

    cdef int check(self, uint16_t issuer_no, const uint8_t* serial, size_t serial_len,
                   const RecordHead* record) noexcept nogil:
        cdef RevokedEntry entry
        cdef uint64_t until_boot = page_load(self.page + AT_UNTIL_BOOT)
        cdef uint64_t until_mono = page_load(self.page + AT_UNTIL_MONO)
        if page_load(self.page + AT_IMAGE) != self.number:
            return GATE_MOVED
        if find_revoked(self.octets, issuer_no, serial, serial_len, &entry) == LISTED:
            return GATE_PASS if says(record, &entry) else GATE_CONTRADICTED
        if record.status == REVOKED and record.revocation_time != 0:
            return GATE_CONTRADICTED
        if gate_clock(CLOCK_BOOTTIME) < until_boot and gate_clock(CLOCK_MONOTONIC) < until_mono:
            return GATE_PASS
        return GATE_CLOSED

    cdef int check_fenced(self, int verdict, uint16_t issuer_no, const uint8_t* serial, size_t serial_len,
                          const RecordHead* record) noexcept nogil:
        cdef uint64_t until_boot
        cdef uint64_t until_mono
        if verdict != GATE_CLOSED:
            return verdict
        until_boot = page_load(self.page + AT_FENCED_BOOT)
        until_mono = page_load(self.page + AT_FENCED_MONO)
        # the set is read again, after this lease
        verdict = self.check(issuer_no, serial, serial_len, record)
        if verdict != GATE_CLOSED:
            return verdict
        if gate_clock(CLOCK_BOOTTIME) >= until_boot or gate_clock(CLOCK_MONOTONIC) >= until_mono:
            return GATE_CLOSED
        return GATE_FENCED if find_fence(self.octets, issuer_no) else GATE_PASS

    def check_record(self, int issuer_no, bytes serial not None, bytes record not None):
        """1 passes, 0 is contradicted by the set, -1 the lease has run out, -3 the issuer is fenced.

        The cold lane's door to the same code.
        """
        cdef RecordHead head
        cdef int verdict = GATE_MOVED
        if not 1 <= len(serial) <= MAX_SERIAL:
            raise ValueError(f"a serial number's key has 1 to {MAX_SERIAL} bytes")
        if read_record(record, len(record), &head) != 0:
            raise MalformedRecord("not a record", 0)
        while verdict == GATE_MOVED:
            self.remap()
            verdict = self.check(<uint16_t>issuer_no, serial, len(serial), &head)
            verdict = self.check_fenced(verdict, <uint16_t>issuer_no, serial, len(serial), &head)
        return verdict

    def is_fenced(self, int issuer_no):
        """True when the issuer is fenced."""
        self.remap()
        return find_fence(self.octets, <uint16_t>issuer_no)

    def is_revoked(self, int issuer_no, bytes serial not None):
        """True when the set lists the serial."""
        cdef RevokedEntry entry
        self.remap()
        return find_revoked(self.octets, <uint16_t>issuer_no, serial, len(serial), &entry) == LISTED


cdef inline bint says(const RecordHead* record, const RevokedEntry* entry) noexcept nogil:
    """The record is `revoked` with the set's time and reason; unspecified and none are the same."""
    cdef uint8_t a = NO_REASON if record.reason == 0 else record.reason
    cdef uint8_t b = NO_REASON if entry.reason == 0 else entry.reason
    return record.status == REVOKED and record.revocation_time == entry.revocation_time and a == b
