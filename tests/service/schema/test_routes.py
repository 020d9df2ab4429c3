"""Each route has its entry."""

import re

import pytest

from service.app import create_app
from service.schema import routes
from service.schema.routes import OPERATIONS, Who
from service.settings import Settings
from service.streams import asked, enrichment
from tests.conftest import StackFacts
from tests.service.conftest import service_environment


def test_every_route_of_the_application_has_its_entry(stack: StackFacts) -> None:
    """A new route needs one in service/schema/routes.py; then `make schema`."""
    app = create_app(Settings.from_environment(service_environment(stack)))
    there = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if not rule.websocket
        for method in (rule.methods or ()) - {"HEAD", "OPTIONS"}
    }
    assert there == {(operation.method, operation.path) for operation in OPERATIONS}


def test_limits_are_those_of_the_routes() -> None:
    assert routes.KEYS_LIMIT == asked.KEYS_LIMIT
    assert (routes.PAGE, routes.PAGE_LIMIT) == (enrichment.PAGE, enrichment.PAGE_LIMIT)


def test_each_has_a_name_of_its_own() -> None:
    names = [operation.id for operation in OPERATIONS]
    assert sorted(set(names)) == sorted(names)


def test_parameters_of_a_path_are_ids_or_words() -> None:
    [control] = [operation for operation in OPERATIONS if operation.id == "controlEnrichment"]
    assert control.template == "/api/boms/{bom_id}/enrichment/{command}"
    bom, command = control.path_parameters()
    assert (bom.name, bom.place, bom.required, bom.schema) == (
        "bom_id", "path", True, {"type": "string", "format": "uuid"},
    )  # fmt: skip
    assert command.schema == {"type": "string", "enum": ["pause", "resume", "stop"]}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_who_must_sign_in_may_be_refused(operation) -> None:
    if operation.who is not Who.ANYONE:
        assert {401, 429, 503} <= set(operation.errors)
    assert not set(operation.errors) & set(operation.answers)
    assert re.fullmatch(r"[a-z][A-Za-z]+", operation.id)
    assert not operation.summary.endswith(".")
