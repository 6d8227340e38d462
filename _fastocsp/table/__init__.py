"""The answer table: records by CertID in memory that all workers of a host share."""
