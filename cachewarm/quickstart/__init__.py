"""`fastocsp quickstart`: every process on one machine, under one supervisor, with a demo CA."""
