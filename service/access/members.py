"""Asks the database whether a user may read a project: with the user's own token, so that its RLS policies decide."""

import httpx

from service.access.tokens import Principal
from service.errors import ApiError, DatabaseRefused, DatabaseUnavailable, not_found

ASK_SECONDS = 10.0


class Members:
    """``publishable_key`` identifies the service to the gateway; the right to read is the user's alone."""

    def __init__(self, client: httpx.AsyncClient, supabase_url: str, publishable_key: str) -> None:
        self._client = client
        self._url = f"{supabase_url}/rest/v1/projects"
        self._publishable_key = publishable_key

    async def require(self, principal: Principal, project_id: str) -> None:
        """Returns when the user may read the project, whose id is in its canonical form.

        Raises :class:`ApiError` 404 when it does not exist or is not theirs, 401 when the database refuses the token;
        :class:`DatabaseUnavailable` when it can't be asked, :class:`DatabaseRefused` when it refuses the service.
        """
        headers = {"apikey": self._publishable_key, "Authorization": f"Bearer {principal.token}"}
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
