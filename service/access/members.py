"""Asks the database whether a user may read a project: with the user's own token, so that its RLS policies decide."""

import httpx

from service.access.tokens import Principal
from service.errors import ApiError, DatabaseUnavailable, not_found

ASK_SECONDS = 10.0


class Members:
    """``publishable_key`` identifies the service to the gateway; the right to read is the user's alone."""

    def __init__(self, client: httpx.AsyncClient, supabase_url: str, publishable_key: str) -> None:
        self._client = client
        self._url = f"{supabase_url}/rest/v1/projects"
        self._publishable_key = publishable_key

    async def require(self, principal: Principal, project_id: str) -> None:
        """Returns when the user may read the project.

        Raises :class:`ApiError` 404 when it does not exist or is not theirs, 401 when the database refuses the token,
        :class:`DatabaseUnavailable` when it can't be asked.
        """
        headers = {"apikey": self._publishable_key, "Authorization": f"Bearer {principal.token}"}
        parameters = {"id": f"eq.{project_id}", "select": "id"}
        try:
            answer = await self._client.get(self._url, params=parameters, headers=headers, timeout=ASK_SECONDS)
        except httpx.HTTPError as error:
            raise DatabaseUnavailable(f"projects: {error!r}") from error
        if answer.status_code in (401, 403):
            raise ApiError(401, "invalid_token", "The database does not accept the access token.")
        if answer.status_code != httpx.codes.OK:
            raise DatabaseUnavailable(f"projects: HTTP {answer.status_code}")
        if not answer.json():
            raise not_found("project")
