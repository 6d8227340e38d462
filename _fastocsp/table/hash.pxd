"""The hash of a table's key. Inline only, there is no .pyx."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from _fastocsp.table.entry cimport TableKey


cdef inline uint32_t mix(uint32_t h) noexcept nogil:
    h = (h ^ (h >> 16)) * <uint32_t>0x85EBCA6B
    h = (h ^ (h >> 13)) * <uint32_t>0xC2B2AE35
    return h ^ (h >> 16)


cdef inline void set_key(TableKey* key, uint16_t issuer_no, uint8_t hash_algorithm, const uint8_t* serial,
                         size_t serial_len) noexcept nogil:
    """Fill `key`, place unknown; it borrows `serial`. serial_len is 1..MAX_SERIAL."""
    cdef uint32_t h = <uint32_t>2166136261 ^ (<uint32_t>issuer_no << 8) ^ hash_algorithm
    cdef size_t i
    for i in range(serial_len):
        h = (h ^ serial[i]) * <uint32_t>16777619
    key.hash = mix(h)
    key.issuer_no = issuer_no
    key.hash_algorithm = hash_algorithm
    key.serial = serial
    key.serial_len = <uint8_t>serial_len
    key.place = 0
