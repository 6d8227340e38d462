"""The worker process: its uvloop side, the bridge to the connection loop, and its limits."""
