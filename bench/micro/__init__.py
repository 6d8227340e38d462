"""Micro benches; `make bench-micro`."""
