"""Index of issuers by the two hashes of a CertID (RFC 6960 4.1.1): both must belong to the same issuer.

Built whole and then only read; a new catalog makes a new index. It has as many buckets as room for rows, so a look-up
costs the same whatever the number of issuers.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from _fastocsp.wire.codes cimport HASH_MASK, MAX_HASH
from _fastocsp.ocsp.request cimport CertID
from _fastocsp.ocsp.response cimport Template, TemplateOctets


cdef inline size_t bucket_of(const uint8_t* key_hash, size_t hash_len) noexcept nogil:
    """Before it is masked: the first bytes are as good as any, they are a hash."""
    if hash_len < 3:
        return key_hash[0]
    return key_hash[0] | <size_t>key_hash[1] << 8 | <size_t>key_hash[2] << 16


cdef inline size_t template_bucket(uint16_t issuer_no, uint8_t hash_algorithm) noexcept nogil:
    """Before it is masked. Two bits of the algorithm and PARAMETERS_ABSENT tell an issuer's templates apart."""
    return issuer_no * <size_t>8 + (hash_algorithm & 3) + (hash_algorithm >> 7) * <size_t>4


cdef class IssuerIndex:
    """Issuers of one catalog."""

    def __cinit__(self):
        self.names = {}
        self._templates = {}
        self._held = []

    def __dealloc__(self):
        free(self.rows)
        free(self.template_rows)
        free(self.buckets)
        free(self.template_buckets)

    def add(self, int issuer_no, bytes issuer_id not None, int hash_algorithm, bytes name_hash not None,
            bytes key_hash not None):
        """One issuer under one hash algorithm."""
        cdef IssuerHashes* row
        if not 1 <= issuer_no <= 0xFFFF or not 1 <= len(name_hash) <= MAX_HASH or len(name_hash) != len(key_hash):
            raise ValueError("issuer number or hashes out of range")
        self.reserve()
        row = &self.rows[self.count]
        row.hash_algorithm = <uint8_t>hash_algorithm
        row.hash_len = <uint8_t>len(name_hash)
        row.issuer_no = <uint16_t>issuer_no
        memcpy(row.name_hash, <const uint8_t*>name_hash, row.hash_len)
        memcpy(row.key_hash, <const uint8_t*>key_hash, row.hash_len)
        self.names[issuer_no] = issuer_id
        self._held.append(issuer_id)
        row.name = issuer_id
        row.name_len = len(issuer_id)
        self.hold(self.count)
        self.count += 1

    def add_template(self, int issuer_no, Template template not None):
        """A template of that issuer's answers; several differ in their responder."""
        cdef TemplateRow* row
        self.reserve_template()
        self._templates.setdefault((issuer_no, template.hash_algorithm), []).append(template)
        row = &self.template_rows[self.template_count]
        row.issuer_no = <uint16_t>issuer_no
        row.hash_algorithm = <uint8_t>template.hash_algorithm
        row.octets = &template.octets
        self.hold_template(self.template_count)
        self.template_count += 1

    cdef void hold(self, size_t at) noexcept:
        """Put that row in front of its bucket."""
        cdef size_t bucket = bucket_of(self.rows[at].key_hash, self.rows[at].hash_len) & (self.room - 1)
        self.rows[at].next = self.buckets[bucket]
        self.buckets[bucket] = <uint32_t>(at + 1)

    cdef void hold_template(self, size_t at) noexcept:
        cdef TemplateRow* row = &self.template_rows[at]
        cdef size_t bucket = template_bucket(row.issuer_no, row.hash_algorithm) & (self.template_room - 1)
        row.next = self.template_buckets[bucket]
        self.template_buckets[bucket] = <uint32_t>(at + 1)

    cdef int reserve(self) except -1:
        cdef size_t at, room = self.room * 2 if self.room else 8
        cdef void* grown
        if self.count < self.room:
            return 0
        grown = realloc(self.rows, room * sizeof(IssuerHashes))
        if grown == NULL:
            raise MemoryError
        self.rows = <IssuerHashes*>grown
        grown = realloc(self.buckets, room * sizeof(uint32_t))
        if grown == NULL:
            raise MemoryError
        self.buckets = <uint32_t*>grown
        self.room = room
        memset(self.buckets, 0, room * sizeof(uint32_t))
        for at in range(self.count):
            self.hold(at)
        return 0

    cdef int reserve_template(self) except -1:
        cdef size_t at, room = self.template_room * 2 if self.template_room else 8
        cdef void* grown
        if self.template_count < self.template_room:
            return 0
        grown = realloc(self.template_rows, room * sizeof(TemplateRow))
        if grown == NULL:
            raise MemoryError
        self.template_rows = <TemplateRow*>grown
        grown = realloc(self.template_buckets, room * sizeof(uint32_t))
        if grown == NULL:
            raise MemoryError
        self.template_buckets = <uint32_t*>grown
        self.template_room = room
        memset(self.template_buckets, 0, room * sizeof(uint32_t))
        for at in range(self.template_count):
            self.hold_template(at)
        return 0

    cdef const IssuerHashes* issuer_of(self, const CertID* cert_id) noexcept nogil:
        cdef uint32_t at
        cdef const IssuerHashes* row
        if cert_id.hash_len == 0 or self.count == 0:
            return NULL
        at = self.buckets[bucket_of(cert_id.key_hash, cert_id.hash_len) & (self.room - 1)]
        while at != 0:
            row = &self.rows[at - 1]
            if (row.hash_algorithm == (cert_id.hash_algorithm & HASH_MASK) and row.hash_len == cert_id.hash_len
                    and memcmp(row.key_hash, cert_id.key_hash, row.hash_len) == 0
                    and memcmp(row.name_hash, cert_id.name_hash, row.hash_len) == 0):
                return row
            at = row.next
        return NULL

    cdef const TemplateOctets* template(self, uint16_t issuer_no, uint8_t hash_algorithm,
                                        const uint8_t* responder) noexcept nogil:
        cdef const TemplateRow* row
        cdef uint32_t at
        if self.template_count == 0:
            return NULL
        at = self.template_buckets[template_bucket(issuer_no, hash_algorithm) & (self.template_room - 1)]
        while at != 0:
            row = &self.template_rows[at - 1]
            if (row.issuer_no == issuer_no and row.hash_algorithm == hash_algorithm
                    and memcmp(row.octets.responder.p, responder, 8) == 0):
                return row.octets
            at = row.next
        return NULL

    def find(self, int hash_algorithm, bytes name_hash not None, bytes key_hash not None):
        """Issuer number, or 0 when no issuer has both hashes under that algorithm."""
        cdef CertID cert_id
        cdef const IssuerHashes* found
        if len(name_hash) != len(key_hash):
            return 0
        memset(&cert_id, 0, sizeof(CertID))
        cert_id.hash_algorithm = <uint8_t>hash_algorithm
        cert_id.hash_len = <uint8_t>len(name_hash)
        cert_id.name_hash = name_hash
        cert_id.key_hash = key_hash
        found = self.issuer_of(&cert_id)
        return found.issuer_no if found != NULL else 0

    def find_template(self, int issuer_no, int hash_algorithm, bytes responder not None):
        """The template of those answers, or None."""
        if len(responder) != 8:
            raise ValueError("8 octets of responder")
        for template in self._templates.get((issuer_no, hash_algorithm), ()):
            if template.responder == responder:
                return template
        return None
