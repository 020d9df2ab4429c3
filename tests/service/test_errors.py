"""The service's exceptions and the answers made of them."""

import inspect

import pytest

from service import errors


def test_everything_raised_on_purpose_has_one_base():
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        assert issubclass(kind, errors.RowcastServiceError)
        assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("error", "status", "code", "message", "retry_after"),
    [
        (errors.bad_request("since must be a number."), 400, "bad_request", "since must be a number.", None),
        (errors.not_found("project"), 404, "not_found", "No such project, or it is not yours to see.", None),
        (errors.upstream_unavailable(), 503, "upstream_unavailable", "The database can't be asked at the moment.", 2),
        (errors.ApiError(401, "invalid_token", "No."), 401, "invalid_token", "No.", None),
    ],
)
def test_an_answer_has_a_status_a_code_and_a_message(error, status, code, message, retry_after):
    assert (error.status, error.code, error.message, error.retry_after) == (status, code, message, retry_after)
    assert str(error) == message
