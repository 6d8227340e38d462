"""Locust scenarios; `make bench-load SCENARIO=...`."""
