"""The documents at their addresses."""

import httpx

from service.schema import asyncapi, openapi


def test_the_documents_are_told_to_whoever_asks(service: str) -> None:
    for name, document in (("openapi", openapi.document()), ("asyncapi", asyncapi.document())):
        answer = httpx.get(f"{service}/{name}.json")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json() == document


def test_the_page_may_run_nothing(service: str) -> None:
    answer = httpx.get(f"{service}/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'none'" in answer.headers["Content-Security-Policy"]
