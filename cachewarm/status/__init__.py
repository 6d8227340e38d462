"""What `fastocsp status` and `check-config` report."""
