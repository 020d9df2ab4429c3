"""What the migrations revoked stays revoked however the devstack's REST is used."""

import httpx
import psycopg

from tests.conftest import StackFacts
from tests.service.conftest import add_user


def test_serving_requests_grants_nobody_anything(stack: StackFacts) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        _, token = add_user(database, stack)
        keys = {"apikey": stack.publishable_key}
        for headers in (keys, {**keys, "Authorization": f"Bearer {token}"}, {"apikey": stack.secret_key}):
            httpx.get(f"{stack.supabase_url}/rest/v1/projects?select=id", headers=headers)
        granted = database.execute(
            "select c.relname, a.privilege_type from pg_class c, aclexplode(c.relacl) a "
            "where c.relnamespace = 'public'::regnamespace "
            "and a.grantee in ('anon'::regrole, 'authenticated'::regrole) "
            "and (a.grantee = 'anon'::regrole or a.privilege_type <> 'SELECT')"
        ).fetchall()
        assert granted == []


def test_a_column_that_is_not_granted_cannot_be_read(stack: StackFacts) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        _, token = add_user(database, stack)
        headers = {"apikey": stack.publishable_key, "Authorization": f"Bearer {token}"}
        told = httpx.get(f"{stack.supabase_url}/rest/v1/jobs?select=payload", headers=headers).json()
        assert told["code"] == "42501"
        assert httpx.get(f"{stack.supabase_url}/rest/v1/jobs?select=id,title", headers=headers).json() == []
