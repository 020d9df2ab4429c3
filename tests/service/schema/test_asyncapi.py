from service.schema import asyncapi


def test_it_is_asyncapi_3() -> None:
    assert asyncapi.document()["asyncapi"] == "3.0.0"
