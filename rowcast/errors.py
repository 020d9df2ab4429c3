"""What can go wrong, as one tree:

RowcastError                everything below; catch this to catch all of it
├── ConfigError             connect(): an address or key is missing or can't be right (also a ValueError)
├── NotRunningError         a job, source or client was used outside its `with` block
├── RequestError            the database refused a write and would again: an unknown project, a refused key, …
├── DeliveryError           something could not be written within the deadline; `unwritten` names what
├── JobCancelled            someone asked for the job to stop; ends it as `stopped` (raised by `track`)
└── JobLost                 a claimed job's lease ran out and another worker may have it (raised by `track`)

Arguments that no retry could save (a confidence of 7) raise ValueError where they are given.
"""

from uuid import UUID


class RowcastError(Exception):
    """Base of every error this library raises on its own account."""


class ConfigError(RowcastError, ValueError):
    """The address or key given to :func:`rowcast.connect` is missing or can't be right."""


class NotRunningError(RowcastError):
    """Used before its ``with`` block was entered, or after it was left."""


class JobCancelled(RowcastError):
    """The job was asked to stop (``cancel_requested_at`` is set on its row)."""


class JobLost(RowcastError):
    """A claimed job is this worker's no longer: it was silent for longer than its lease. Nothing it writes counts."""


def lost(job_id: UUID) -> JobLost:
    return JobLost(f"Job {job_id} is another worker's now, or queued for one")


class RequestError(RowcastError):
    """The database refused a write; sending it again would not help.

    ``status`` is the HTTP status (0 when the row was not there to be written), ``code`` PostgREST's or
    PostgreSQL's error code ("23503": a foreign key that leads nowhere), ``details`` and ``hint`` its own words.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str | None = None,
        details: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details
        self.hint = hint


class DeliveryError(RowcastError):
    """The deadline passed before everything was written.

    ``unwritten`` names what was not confirmed, ``last_error`` the last thing that went wrong (None when nothing
    did: the deadline was simply too short). A request that was under way may still arrive.
    """

    def __init__(self, message: str, *, unwritten: tuple[str, ...], last_error: str | None) -> None:
        super().__init__(message)
        self.unwritten = unwritten
        self.last_error = last_error
