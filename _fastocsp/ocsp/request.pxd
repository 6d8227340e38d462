"""OCSPRequest, RFC 6960 4.1.1: bytes in, borrowed pointers out."""

from libc.stdint cimport uint8_t

from _fastocsp.ocsp.certid cimport CertID

cdef struct OCSPRequest:
    size_t cert_id_count          # >= 1
    CertID first
    const uint8_t* request_list   # content bytes of requestList, for next_cert_id
    size_t request_list_len
    const uint8_t* nonce          # bytes inside the inner OCTET STRING
    Py_ssize_t nonce_len          # -1: no nonce; 0: present and empty
    bint nonce_malformed          # the extension is there and its value is not one OCTET STRING; nonce_len is -1
    bint unknown_critical         # an unknown critical extension, in the request or in a single request
    const uint8_t* requestor_name  # the GeneralName TLV, its inside not examined
    size_t requestor_name_len     # 0: absent
    const uint8_t* signature      # the Signature TLV, kept, never verified
    size_t signature_len          # 0: absent

# 0, or -1 for anything that is not a DER OCSPRequest v1 (O-2, O-4, O-5 of the rules). On -1 the failing byte's
# offset is in *offset.
cdef int parse_request(const uint8_t* p, size_t n, OCSPRequest* out, size_t* offset) noexcept nogil

# Walks request_list: *p and *n move on; 1 one CertID read, 0 at the end. Only after parse_request returned 0.
cdef int next_cert_id(const uint8_t** p, size_t* n, CertID* out) noexcept nogil
