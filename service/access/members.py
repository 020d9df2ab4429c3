"""Asks the database whether a user may read a project: with the user's own token, so that its RLS policies decide.

A yes holds for TRUST_SECONDS, and all who ask the same at once share one question: a thousand tabs that reconnect
together are one query. A no is never kept.
"""

import asyncio
from collections.abc import Callable

import httpx

from service.access.tokens import Principal
from service.errors import ApiError, DatabaseRefused, DatabaseUnavailable, not_found

ASK_SECONDS = 10.0
TRUST_SECONDS = 5.0
TRUSTED_LIMIT = 10_000

Question = tuple[str, str]
"""A token and a project's id."""


class Members:
    """``publishable_key`` identifies the service to the gateway; the right to read is the user's alone.

    ``clock`` gives monotonic seconds.
    """

    def __init__(
        self, client: httpx.AsyncClient, supabase_url: str, publishable_key: str, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._url = f"{supabase_url}/rest/v1/projects"
        self._publishable_key = publishable_key
        self._clock = clock
        self._trusted_until: dict[Question, float] = {}  # oldest first
        self._asking: dict[Question, asyncio.Task[None]] = {}

    async def require(self, principal: Principal, project_id: str) -> None:
        """Returns when the user may read the project, whose id is in its canonical form.

        Raises :class:`ApiError` 404 when it does not exist or is not theirs, 401 when the database refuses the token;
        :class:`DatabaseUnavailable` when it can't be asked, :class:`DatabaseRefused` when it refuses the service.
        """
        question = (principal.token, project_id)
        if self._trusted_until.get(question, 0.0) > self._clock():
            return
        asking = self._asking.get(question)
        if asking is None:
            asking = self._asking[question] = asyncio.get_running_loop().create_task(self._ask(question))
            asking.add_done_callback(lambda _: self._asking.pop(question))
        await asyncio.shield(asking)

    async def _ask(self, question: Question) -> None:
        asked_at = self._clock()
        await self._require(*question)
        self._trusted_until.pop(question, None)
        self._trusted_until[question] = asked_at + TRUST_SECONDS
        while len(self._trusted_until) > TRUSTED_LIMIT or next(iter(self._trusted_until.values())) < asked_at:
            del self._trusted_until[next(iter(self._trusted_until))]

    async def _require(self, token: str, project_id: str) -> None:
        headers = {"apikey": self._publishable_key, "Authorization": f"Bearer {token}"}
        parameters = {"id": f"eq.{project_id}", "select": "id"}
        try:
            answer = await self._client.get(self._url, params=parameters, headers=headers, timeout=ASK_SECONDS)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise DatabaseUnavailable(f"projects: {error!r}") from error
        # Not just anything: only the row itself lets somebody in.
        if answer.status_code == httpx.codes.OK and said == [{"id": project_id}]:
            return
        if answer.status_code == httpx.codes.OK and said == []:
            raise not_found("project")
        complaint = f"projects: HTTP {answer.status_code} {answer.text[:200]}"
        if answer.status_code == httpx.codes.UNAUTHORIZED and isinstance(said, dict) and said.get("code"):
            raise ApiError(401, "invalid_token", "The database does not accept the access token.")
        # A 401 without PostgREST's code is the gateway's: it does not know the publishable key.
        if answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            raise DatabaseRefused(complaint)
        raise DatabaseUnavailable(complaint)
