"""The `fastocsp` command: one module per command group."""
