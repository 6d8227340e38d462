"""Memory that several threads or processes use: rate-limit buckets, counters, the lock, prefetching."""
