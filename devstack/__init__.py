"""A Supabase for a machine without Docker: PostgreSQL from a wheel, Supabase Lite, and a Realtime stand-in.

``stack`` composes the parts, ``postgres`` and ``lite`` wrap the two servers that are not ours, ``gateway`` gives
all of them one URL with Supabase's paths, and ``realtime`` is the stand-in. For development and tests only.
"""
