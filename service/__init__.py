"""rowcast's service: row changes of a Supabase database as typed, live events. ``pipeline`` shows the whole flow."""
