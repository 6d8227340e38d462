"""Hot lane: what is in the table, in its window and past the gate is answered here, without a Python object.

It reads from top to bottom: rate limit, GET path or body, parse, issuer, table, window, template, condition, gate,
bytes. Whatever is not plain (no record, a nonce, several CertIDs, a refusal) is left to the slow lane, which knows
every rule; this one only knows the way through.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from _fastocsp.codes cimport GOOD, REVOKED
from _fastocsp.getpath cimport decode_get
from _fastocsp.record cimport RecordHead, read_record
from _fastocsp.reply cimport MAX_HEAD_OCTETS, not_modified, put_not_modified_head, put_ok_head
from _fastocsp.request cimport CertID, OCSPRequest, parse_request
from _fastocsp.response cimport Template
from _fastocsp.sink cimport Sink, put_static, sink_room, sink_used
from _fastocsp.table cimport Entry, TableKey, entry_record, set_key
from _fastocsp.wire cimport METHOD_GET, HttpRequest
from responder.edge.gate cimport GATE_CONTRADICTED, GATE_PASS

from _fastocsp.gentime import imf_fixdate
from responder.telemetry import INDEX

cdef enum:
    MAX_DUE = 10000
    ROOM_WANTED = 8192            # octets left in the sink below which it is flushed first

cdef size_t AT_HIT = INDEX["answers:hit"]
cdef size_t AT_NOT_MODIFIED = INDEX["answers:not_modified"]
cdef size_t AT_LIMITED = INDEX["answers:limited"]
cdef size_t AT_CONTRADICTED = INDEX["contradicted"]

cdef bytes LIMITED_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: 5\r\n"
    b"Cache-Control: no-store\r\nRetry-After: 60\r\nDate: ")
cdef const char* LIMITED = LIMITED_HEAD
cdef size_t LIMITED_LEN = len(LIMITED_HEAD)


cdef class Lane:
    """Everything a hit needs, of one worker."""

    def __cinit__(self):
        self.due = set()
        self.max_body = 16384
        self.tick(0)

    def tick(self, uint32_t now):
        """Move the clock of windows and Date fields to this epoch second."""
        cdef bytes date = imf_fixdate(now).encode()
        self.now = now
        memcpy(self.date, <const uint8_t*>date, 29)
        if self.table is not None:
            self.table.tick = now

    cdef int answer(self, const HttpRequest* http, uint64_t client, uint64_t now_ns, Sink* out):
        cdef OCSPRequest request
        cdef Py_ssize_t n = http.body.n
        cdef const uint8_t* der = http.body.p
        cdef size_t offset
        if sink_room(out) < ROOM_WANTED and sink_used(out):
            return LANE_FULL
        if not self.bucket.take(client, now_ns):
            return self.refuse(http, out)
        if http.method == METHOD_GET:
            if http.rest.n > sizeof(self.der):
                return LANE_SLOW
            n = decode_get(http.rest.p, http.rest.n, self.der)
            der = self.der
        if n <= 0 or parse_request(der, n, &request, &offset) != 0:
            return LANE_SLOW
        if request.cert_id_count != 1 or request.nonce_len >= 0 or request.nonce_malformed or request.unknown_critical:
            return LANE_SLOW
        return self.answer_cert(&request.first, http, out)

    cdef int answer_cert(self, const CertID* cert_id, const HttpRequest* http, Sink* out):
        cdef uint16_t issuer_no = self.issuers.issuer_of(cert_id)
        cdef TableKey key
        cdef Entry* entry
        cdef RecordHead record
        cdef bytes name
        if issuer_no == 0 or cert_id.serial_len == 0:
            return LANE_SLOW
        if http.issuer_id.n:
            name = self.issuers.names[issuer_no]
            if http.issuer_id.n != <size_t>len(name) or memcmp(http.issuer_id.p, <const char*>name, len(name)) != 0:
                return LANE_SLOW
        set_key(&key, issuer_no, cert_id.hash_algorithm, cert_id.serial, cert_id.serial_len)
        entry = self.table.find(&key)
        if entry == NULL or read_record(entry_record(entry), entry.record_len, &record) != 0:
            return LANE_SLOW
        if not record.this_update <= self.now < record.next_update:
            return LANE_SLOW
        entry.used = self.now
        if self.now - record.this_update > (record.next_update - record.this_update) // 2:
            if len(self.due) < MAX_DUE:
                self.due.add((issuer_no, cert_id.hash_algorithm, (<const char*>cert_id.serial)[:cert_id.serial_len]))
        return self.put_answer(issuer_no, cert_id, &record, http, out)

    cdef int put_answer(self, uint16_t issuer_no, const CertID* cert_id, const RecordHead* record,
                        const HttpRequest* http, Sink* out):
        """Head and DER, once the gate has let the record pass."""
        cdef Template template = self.issuers.template(issuer_no, record.hash_algorithm, record.responder)
        cdef size_t size
        cdef int verdict
        if template is None or (record.status != GOOD and record.status != REVOKED):
            return LANE_SLOW
        size = template.response_size(cert_id.serial_len, cert_id.serial, record)
        if size == 0:
            return LANE_SLOW
        if size + MAX_HEAD_OCTETS > sink_room(out):
            return LANE_FULL if sink_used(out) else LANE_SLOW
        verdict = self.gate.check(issuer_no, cert_id.serial, cert_id.serial_len, record)
        if verdict != GATE_PASS:
            if verdict == GATE_CONTRADICTED:
                self.counters.values[AT_CONTRADICTED] += 1
            return LANE_SLOW
        if http.method == METHOD_GET and not_modified(http.if_none_match, http.if_modified_since, record):
            put_not_modified_head(out, record, self.now, self.date, http.keep_alive)
            self.counters.values[AT_NOT_MODIFIED] += 1
            return LANE_ANSWERED
        put_ok_head(out, size, record, self.now, self.date, http.keep_alive)
        template.write_response(out, cert_id.serial_len, cert_id.serial, record)
        self.counters.values[AT_HIT] += 1
        return LANE_ANSWERED

    cdef int refuse(self, const HttpRequest* http, Sink* out):
        """Over the rate limit: OCSP `unauthorized` and Retry-After (P-2 of the rules)."""
        put_static(out, LIMITED, LIMITED_LEN)
        put_static(out, <const char*>self.date, 29)
        if not http.keep_alive:
            put_static(out, b"\r\nConnection: close", 19)
        put_static(out, b"\r\n\r\n\x30\x03\x0a\x01\x06", 9)
        self.counters.values[AT_LIMITED] += 1
        return LANE_ANSWERED
