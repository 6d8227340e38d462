"""Groups: the revoked set as sorted rows, one bytes per (issuer_no, serial length). Merged, compared, joined.

Row: serial | revocation time u32 big-endian | reason u8; ascending by serial, each serial once. A group is never empty.
It knows no image and no file: revoked lays groups out, the journal keeps them.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy


def merge_groups(groups, items):
    """`groups` after these items, the last of a serial winning."""
    changes = {}
    for op, issuer_no, serial, revocation_time, reason in items:
        row = serial + revocation_time.to_bytes(4, "big") + bytes((reason,)) if op == 1 else None
        changes.setdefault((issuer_no, len(serial)), {})[serial] = row
    merged = dict(groups)
    for key, rows in changes.items():
        merged[key] = _merge(merged.get(key, b""), key[1], rows)
    return {key: rows for key, rows in merged.items() if rows}


def _merge(bytes rows, size_t serial_len, changes):
    """Sorted rows after {serial: row or None}: runs between two changes are copied whole."""
    cdef const uint8_t* p = rows
    cdef size_t stride = serial_len + ROW_TAIL
    cdef size_t count = len(rows) // stride
    cdef size_t begin = 0
    cdef size_t at
    parts = []
    for serial in sorted(changes):
        at = _lower_bound(p, begin, count, stride, serial, serial_len)
        parts.append(rows[begin * stride:at * stride])
        if changes[serial] is not None:
            parts.append(changes[serial])
        if at < count and memcmp(p + at * stride, <const uint8_t*><bytes>serial, serial_len) == 0:
            at += 1
        begin = at
    parts.append(rows[begin * stride:])
    return b"".join(parts)


cdef size_t _lower_bound(const uint8_t* rows, size_t low, size_t high, size_t stride, bytes serial, size_t n):
    cdef const uint8_t* wanted = serial
    cdef size_t middle
    while low < high:
        middle = low + (high - low) // 2
        if memcmp(rows + middle * stride, wanted, n) < 0:
            low = middle + 1
        else:
            high = middle
    return low


def missing_rows(before, after):
    """The rows of `before` whose serials `after` does not have."""
    found = {key: _pair(rows, after.get(key, b""), key[1], False) for key, rows in before.items()}
    return {key: rows for key, rows in found.items() if rows}


def join_groups(groups, more):
    """Both together; where both have a serial the row of `groups` stands."""
    return {key: _pair(more.get(key, b""), groups.get(key, b""), key[1], True) for key in {*groups, *more}}


def _pair(bytes a, bytes b, size_t serial_len, bint joined):
    """Rows of `a` that `b` lacks, and with `joined` those of `b` between them."""
    cdef const uint8_t* p = a
    cdef const uint8_t* q = b
    cdef const uint8_t* a_end = p + len(a)
    cdef const uint8_t* b_end = q + len(b)
    cdef size_t stride = serial_len + ROW_TAIL
    cdef size_t at = 0
    cdef int order
    cdef uint8_t* out = <uint8_t*>malloc(len(a) + len(b) + 1)
    if out == NULL:
        raise MemoryError
    try:
        while p != a_end or q != b_end:
            order = 1 if p == a_end else -1 if q == b_end else memcmp(p, q, serial_len)
            if order < 0 or joined:
                memcpy(out + at, p if order < 0 else q, stride)
                at += stride
            if order <= 0:
                p += stride
            if order >= 0:
                q += stride
        return (<const char*>out)[:at]
    finally:
        free(out)
