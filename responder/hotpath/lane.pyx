"""Hot lane: what is in the table, in its window and past the gate is answered here, without a Python object.

It reads from top to bottom: rate limit, GET path or body, parse, issuer, table, window, template, condition, gate,
bytes. A GET whose target was answered a moment ago goes from the rate limit straight to the table (ADR 0014). Whatever
is not plain (no record, a nonce, several CertIDs, a refusal) is left to the slow lane, which knows every rule; this one
only knows the way through. Of CRLs it knows who has them already. It needs no GIL: what it reads and Python changes -
index of issuers, tags of CRLs, image of the revoked set - is read and changed under one lock, whole objects at a time.
The table is of all workers and needs no lock to be read; what is answered is a copy of its record.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from _fastocsp.ocsp.signer_wire cimport MAX_NONCE
from _fastocsp.wire.codes cimport ERROR_BYTES, GOOD, LIMITED_S, REVOKED, UNAUTHORIZED
from _fastocsp.shared.bucket cimport ClientKey
from _fastocsp.shared.counters cimport count_more
from _fastocsp.http.not_modified cimport CRLTag, client_has, put_crl_not_modified
from _fastocsp.wire.der cimport Octets
from _fastocsp.wire.gentime cimport FIXDATE, put_fixdate
from _fastocsp.http.path cimport decode_get
from _fastocsp.ocsp.issuers cimport IssuerHashes
from _fastocsp.ocsp.record cimport RecordHead, read_record
from _fastocsp.http.response cimport Freshness, not_modified, put_no_store_head, put_not_modified_head
from _fastocsp.ocsp.request cimport CertID, OCSPRequest, parse_request
from _fastocsp.ocsp.response cimport TemplateOctets, put_error_response
from _fastocsp.revoked.layout cimport hash_serial
from _fastocsp.wire.sink cimport Sink, open_sink, sink_room, sink_used
from _fastocsp.cache.response_patches cimport ResponsePlan, Stencils
from _fastocsp.table.entry cimport Found, TableKey
from _fastocsp.table.hash cimport set_key
from _fastocsp.cache.request_targets cimport KnownTarget, Tag, Targets
from _fastocsp.http.request cimport METHOD_GET, HttpRequest
from responder.hotpath.gate cimport GATE_CONTRADICTED, GATE_PASS

from responder.telemetry import INDEX

cdef enum:
    MAX_DUE = 10000
    MAX_DER = 16384
    ROOM_WANTED = 8192            # bytes left in the sink below which it is flushed first
    TARGET_SETS = 1024            # of four, 320 bytes each

cdef size_t AT_HIT = INDEX["answers:hit"]
cdef size_t AT_NOT_MODIFIED = INDEX["answers:not_modified"]
cdef size_t AT_LIMITED = INDEX["answers:limited"]
cdef size_t AT_CONTRADICTED = INDEX["contradicted"]
cdef size_t AT_CRL_NOT_MODIFIED = INDEX["crl_not_modified"]


cdef class Lane:
    """Everything a hit needs, of one worker; its lock is the gate's."""

    def __cinit__(self, Table table not None, Gate gate not None, Bucket bucket not None, Counters counters not None,
                  IssuerIndex issuers not None, size_t max_body, uint32_t max_age):
        self.lock = gate.lock
        self.table, self.gate, self.bucket, self.counters, self.issuers = table, gate, bucket, counters, issuers
        self.crls = CRLTags()
        self.targets = Targets(TARGET_SETS)
        self.stencils = Stencils()
        self.max_body = max_body
        self.max_age = max_age
        self.due = <DueKey*>malloc(MAX_DUE * sizeof(DueKey))
        self.der = <uint8_t*>malloc(MAX_DER)
        if self.due == NULL or self.der == NULL:
            raise MemoryError
        self.tick(0)

    def __dealloc__(self):
        free(self.due)
        free(self.der)

    def tick(self, uint32_t now):
        """Move the clock of windows and Date fields to this epoch second."""
        self.lock.take_gil_held()
        self.move_clock(now)
        self.lock.give()

    def take_issuers(self, IssuerIndex issuers not None):
        """From the next request on this index names the issuers."""
        cdef IssuerIndex old = self.issuers
        self.lock.take_gil_held()
        self.issuers = issuers
        # what a target asks for was found with the old one, and it owns the templates
        self.targets.forget()
        self.stencils.forget()
        self.lock.give()
        # only now may it be freed: nobody reads it any more
        del old

    def take_crls(self, CRLTags crls not None):
        """From the next request on these CRLs are the ones that a client may have."""
        cdef CRLTags old = self.crls
        self.lock.take_gil_held()
        self.crls = crls
        self.lock.give()
        # only now may it be freed: nobody reads it any more
        del old

    def take_due(self):
        """(issuer_no, hash_algorithm, serial) of the records past half of their life that were asked for."""
        cdef DueKey* fresh = <DueKey*>malloc(MAX_DUE * sizeof(DueKey))
        cdef DueKey* taken
        cdef size_t count
        if fresh == NULL:
            raise MemoryError
        self.lock.take_gil_held()
        taken, count = self.due, self.due_count
        self.due, self.due_count = fresh, 0
        self.lock.give()
        try:
            return [(taken[i].issuer_no, taken[i].hash_algorithm, (<const char*>taken[i].serial)[:taken[i].serial_len])
                    for i in range(count)]
        finally:
            free(taken)

    cdef void move_clock(self, uint32_t now) noexcept nogil:
        cdef Sink date
        self.now = now
        self.table.move_clock(now)
        open_sink(&date, self.date, FIXDATE)
        put_fixdate(&date, now)

    cdef void expect(self, const uint8_t* request, size_t n) noexcept nogil:
        cdef const Tag* tag = self.targets.expect(request, n)
        if tag != NULL:
            self.table.expect(0, tag.place)

    cdef RequestOutcome answer(self, const HttpRequest* http, const ClientKey* client, uint64_t now_ns, Sink* out,
                               AnswerQuery* query) noexcept nogil:
        cdef OCSPRequest request
        cdef TableKey key
        cdef KnownTarget known
        cdef Py_ssize_t n = http.body.n
        cdef const uint8_t* der = http.body.p
        cdef size_t offset
        cdef RequestOutcome done
        if sink_room(out) < ROOM_WANTED and sink_used(out):
            return SINK_FULL
        if http.crl:
            return self.answer_crl(http, out)
        if self.bucket.interval != 0 and not self.bucket.take(client, now_ns):
            return self.refuse(http, out)
        if http.method == METHOD_GET:
            if self.targets.find(http.target, &key, &known):
                self.gate.expect(known.serial_hash)
                done = self.answer_key(&key, http, out)
                self.targets.note_place(&known, &key)
                return done
            if http.rest.n > MAX_DER:
                return TO_PYTHON
            n = decode_get(http.rest.p, http.rest.n, self.der)
            der = self.der
        if n <= 0 or parse_request(der, n, &request, &offset) != 0:
            return TO_PYTHON
        if request.cert_id_count != 1 or request.nonce_malformed or request.unknown_critical:
            return TO_PYTHON
        if request.nonce_len >= 0:
            if not 1 <= request.nonce_len <= MAX_NONCE:
                return TO_PYTHON
            self.fill_query(&request, http, query)
            return TO_SIGNER
        return self.answer_cert(&request.first, http, out)

    cdef RequestOutcome answer_crl(self, const HttpRequest* http, Sink* out) noexcept nogil:
        """A 304 to a client that has the CRL; whatever else is asked of a CRL is for the cold lane."""
        cdef const CRLTag* tag = self.crls.find(http.issuer_id)
        if tag == NULL or not client_has(tag, http.if_none_match, http.if_modified_since, self.now):
            return TO_PARSER
        put_crl_not_modified(out, tag, self.now, self.date, http.keep_alive)
        count_more(self.counters.values + AT_CRL_NOT_MODIFIED, 1)
        return ANSWERED

    cdef void fill_query(self, const OCSPRequest* request, const HttpRequest* http, AnswerQuery* query) noexcept nogil:
        """What to ask the signer; issuer_no 0 when only Python can tell."""
        cdef const CertID* cert_id = &request.first
        cdef const IssuerHashes* issuer = self.issuer_asked(cert_id, http)
        query.issuer_no = 0
        if issuer == NULL:
            return
        query.issuer_no, query.hash_algorithm = issuer.issuer_no, cert_id.hash_algorithm
        query.serial_len, query.nonce_len = cert_id.serial_len, <uint8_t>request.nonce_len
        memcpy(query.serial, cert_id.serial, cert_id.serial_len)
        memcpy(query.nonce, request.nonce, <size_t>request.nonce_len)

    cdef const IssuerHashes* issuer_asked(self, const CertID* cert_id, const HttpRequest* http) noexcept nogil:
        """The issuer of the CertID, if the path names it or none; NULL also for a serial that nobody could issue."""
        cdef const IssuerHashes* issuer = self.issuers.issuer_of(cert_id)
        if issuer == NULL or cert_id.serial_len == 0:
            return NULL
        if http.issuer_id.n:
            if http.issuer_id.n != issuer.name_len or memcmp(http.issuer_id.p, issuer.name, issuer.name_len) != 0:
                return NULL
        return issuer

    cdef RequestOutcome answer_cert(self, const CertID* cert_id, const HttpRequest* http, Sink* out) noexcept nogil:
        cdef const IssuerHashes* issuer = self.issuer_asked(cert_id, http)
        cdef TableKey key
        cdef RequestOutcome done
        if issuer == NULL:
            return TO_PYTHON
        set_key(&key, issuer.issuer_no, cert_id.hash_algorithm, cert_id.serial, cert_id.serial_len)
        self.table.expect(key.hash, 0)
        self.gate.expect(hash_serial(key.issuer_no, key.serial, key.serial_len))
        done = self.answer_key(&key, http, out)
        if done == ANSWERED and http.method == METHOD_GET:
            self.targets.keep(http.target, &key)
        return done

    cdef RequestOutcome answer_key(self, TableKey* key, const HttpRequest* http, Sink* out) noexcept nogil:
        cdef Found found
        cdef RecordHead record
        if not self.table.find(key, &found) or read_record(found.record, found.record_len, &record) != 0:
            return TO_PYTHON
        if not record.this_update <= self.now < record.next_update:
            return TO_PYTHON
        if self.table.mark(&found, self.now, self.now - record.this_update
                           > (record.next_update - record.this_update) // 2):
            self.note_due(key)
        return self.put_answer(key, &record, http, out)

    cdef void note_due(self, const TableKey* key) noexcept nogil:
        cdef DueKey* due = self.due + self.due_count
        if self.due_count == MAX_DUE:
            return
        self.due_count += 1
        due.issuer_no, due.hash_algorithm, due.serial_len = key.issuer_no, key.hash_algorithm, key.serial_len
        memcpy(due.serial, key.serial, key.serial_len)

    cdef RequestOutcome put_answer(self, const TableKey* key, const RecordHead* record, const HttpRequest* http,
                                   Sink* out) noexcept nogil:
        """Head and DER, once the gate has let the record pass."""
        cdef const TemplateOctets* template = self.issuers.template(key.issuer_no, record.hash_algorithm,
                                                                    record.responder)
        cdef ResponsePlan plan
        cdef Freshness fresh
        cdef Octets serial
        cdef size_t size
        cdef int verdict
        if template == NULL or (record.status != GOOD and record.status != REVOKED):
            return TO_PYTHON
        serial.p, serial.n = key.serial, key.serial_len
        fresh.now, fresh.limit = self.now, self.max_age
        size = self.stencils.measure(template, serial, record, fresh, http.keep_alive, &plan)
        if size == 0:
            return TO_PYTHON
        if size > sink_room(out):
            return SINK_FULL if sink_used(out) else TO_PYTHON
        verdict = self.gate.check(key.issuer_no, key.serial, key.serial_len, record)
        if verdict != GATE_PASS:
            verdict = self.gate.check_fenced(verdict, key.issuer_no, key.serial, key.serial_len, record)
            if verdict != GATE_PASS:
                if verdict == GATE_CONTRADICTED:
                    count_more(self.counters.values + AT_CONTRADICTED, 1)
                return TO_PYTHON
        if http.method == METHOD_GET and not_modified(http.if_none_match, http.if_modified_since, record):
            put_not_modified_head(out, record, fresh, self.date, http.keep_alive)
            count_more(self.counters.values + AT_NOT_MODIFIED, 1)
            return ANSWERED
        self.stencils.put(&plan, out, self.date)
        count_more(self.counters.values + AT_HIT, 1)
        return ANSWERED

    cdef RequestOutcome refuse(self, const HttpRequest* http, Sink* out) noexcept nogil:
        """Over the rate limit: OCSP `unauthorized` and Retry-After (P-2 of the rules)."""
        put_no_store_head(out, ERROR_BYTES, LIMITED_S, self.date, http.keep_alive)
        put_error_response(out, UNAUTHORIZED)
        count_more(self.counters.values + AT_LIMITED, 1)
        return ANSWERED
