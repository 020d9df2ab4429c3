"""Who hears it: recent changes, replay, and one outbox per viewer."""
