"""Answers of one object, from their models."""

from service.events.answers import Problem, TicketAnswer
from service.streams.answering import answer


async def test_an_answer_is_its_models_json() -> None:
    response = answer(TicketAnswer(ticket="t", expires_in=60), 201)
    assert (response.status_code, response.content_type) == (201, "application/json")
    assert await response.get_data() == b'{"ticket":"t","expiresIn":60}'


async def test_text_is_told_as_it_is() -> None:
    assert await answer(Problem(error="bad_request", message="„Ω“\n")).get_data() == (
        '{"error":"bad_request","message":"„Ω“\\n"}'.encode()
    )
