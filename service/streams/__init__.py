"""How it goes out: Server-Sent Events and snapshots."""
