"""A stand-in for Supabase Realtime: its postgres_changes protocol over pgoutput, for machines without Docker.

`server.StandIn` is the whole; `server.routes` mounts it. docs/devstack.md lists where it differs from the real server.
"""
