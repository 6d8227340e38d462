"""The cold lane: everything that is not a plain OCSP request, in Starlette, and the same OCSP answers once more."""
