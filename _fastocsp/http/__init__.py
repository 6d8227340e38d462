"""HTTP/1.1 for OCSP: request recogniser, header fields, GET paths, response heads, proxies, 304 answers."""
