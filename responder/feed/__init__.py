"""The feed: how a process knows which certificates are revoked, and how long it may trust that.

`machine` decides and owns no socket, file or clock; `poll` and `snapshot` ask Postgres; `journal` keeps what was
heard across a restart; `shared` shows it to the workers; `agent` drives them all.
"""
