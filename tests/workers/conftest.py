"""A project of the devstack's, and its database."""

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row


@pytest.fixture
def database_connection(stack) -> Iterator[psycopg.Connection[DictRow]]:
    with psycopg.connect(stack.database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def project(database_connection) -> UUID:
    sql = """with o as (insert into organizations (name) values ('Workers') returning id)
             insert into projects (organization_id, name) select id, 'Workers' from o returning id"""
    return database_connection.execute(sql).fetchone()["id"]
