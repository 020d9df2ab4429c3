"""The service's own exceptions.

RowcastServiceError
├── CatalogError          `rowcast init` can't look at the database
├── SettingsError         the environment is missing something or has it wrong
├── DatabaseUnavailable   the database could not be asked; trying again may help
├── DatabaseRefused       the database refused the question; trying again does not help
│   └── Refused           with the status and the code of its refusal
├── NoSuchRow             the database has no such row
└── ApiError              a request is answered with a status and {"error": code, "message": text}
    └── LimitReached      one of the configured limits is reached
"""


def in_words(error: Exception) -> str:
    """What it says or, where it says nothing, its name: for people. Its repr may hold a whole answer, and its date."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


class RowcastServiceError(Exception):
    """Base of everything the service raises on purpose."""


class SettingsError(RowcastServiceError):
    """The message, one line, names every variable at fault and what would be right."""


class CatalogError(RowcastServiceError):
    """The message, one line, says what the database or the network has against it."""


class DatabaseUnavailable(RowcastServiceError):
    """Network failure, time-out or a 5xx answer from the database's REST interface."""


class DatabaseRefused(RowcastServiceError):
    """A 4xx answer: a missing function, a wrong key, a bad argument. The message is the database's own.

    ``code`` is PostgREST's or an SQLSTATE; "" when neither has answered.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Refused(DatabaseRefused):
    """The same, with its status."""

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message, code)
        self.status = status


class NoSuchRow(RowcastServiceError):
    """A function was asked about a row that does not exist (any more). The message is the database's own."""


class ApiError(RowcastServiceError):
    """An answer to a request that can't be served. ``retry_after`` is in seconds."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


class LimitReached(ApiError):
    """``limit`` is its name, as in the metrics."""

    def __init__(self, limit: str, status: int, code: str, message: str, retry_after: int) -> None:
        super().__init__(status, code, message, retry_after)
        self.limit = limit


def bad_request(message: str) -> ApiError:
    return ApiError(400, "bad_request", message)


def not_found(what: str) -> ApiError:
    """What does not exist and what the caller may not see look the same."""
    return ApiError(404, "not_found", f"No such {what}, or it is not yours to see.")


def no_change_log() -> ApiError:
    """For what direct mode, and a database that rowcast was added to, does not have."""
    return ApiError(
        404, "not_found", "This needs rowcast's tables, which the database does not have; see `rowcast init`."
    )


def upstream_unavailable() -> ApiError:
    return ApiError(503, "upstream_unavailable", "The database can't be asked at the moment.", retry_after=2)
