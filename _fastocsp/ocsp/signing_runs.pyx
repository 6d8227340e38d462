"""Bodies of the frames between the warmer and its signing processes.

A body is runs of bytes, each behind its length u32, big-endian. A body to be signed has a serial number
and an unsigned record for each signature wanted.
"""

from libc.stdint cimport uint32_t

from _fastocsp.ocsp.record cimport RecordHead, read_or_raise
from _fastocsp.ocsp.response cimport Template
from _fastocsp.wire.der cimport Cursor, Fault, Octets, octets_left, open_cursor, read_octets, read_u32
from _fastocsp.wire.sink cimport Sink, bytes_sink, new_bytes, octets_of, put_big_endian, put_octets

cdef enum:
    LENGTH_FIELD = 4


def join_runs(list runs not None):
    cdef size_t size = 0
    cdef bytes run, body
    cdef Sink s
    for run in runs:
        size += LENGTH_FIELD + <size_t>len(run)
    body = new_bytes(size)
    bytes_sink(&s, body)
    for run in runs:
        put_big_endian(&s, len(run), LENGTH_FIELD)
        put_octets(&s, octets_of(run))
    return body


cdef bytes next_run(Cursor* c):
    cdef uint32_t length = 0
    cdef Octets run
    if read_u32(c, &length) < 0:
        raise ValueError("a body ends within a length")
    if read_octets(c, length, &run) < 0:
        raise ValueError("a body ends within a run")
    return (<const char*>run.p)[:run.n]


def split_runs(bytes body not None):
    cdef Cursor c
    cdef Fault fault
    open_cursor(&c, octets_of(body), &fault)
    runs = []
    while octets_left(&c):
        runs.append(next_run(&c))
    return runs


def sign_runs(bytes body not None, dict templates not None, sign):
    cdef Cursor c
    cdef Fault fault
    cdef RecordHead head
    cdef Template template
    cdef bytes serial, record
    open_cursor(&c, octets_of(body), &fault)
    signatures = []
    while octets_left(&c):
        serial, record = next_run(&c), next_run(&c)
        read_or_raise(record, &head)
        template = templates[head.hash_algorithm]
        signatures.append(sign(template.response_data(serial, record, None)))
    return join_runs(signatures)
