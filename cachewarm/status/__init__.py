"""Reports of `fastocsp status` and `check-config`."""
