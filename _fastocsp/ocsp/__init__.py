"""OCSP messages (RFC 6960): requests, CertIDs, compact records, responses, and the frames between edge and signer."""
