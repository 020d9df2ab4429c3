"""Asks PostgREST, behind a Supabase gateway, and tells apart who is to blame when it does not answer as hoped."""

from collections.abc import Mapping
from typing import Any

import httpx

from service.errors import DatabaseUnavailable, Refused

ASK_SECONDS = 10.0
PATIENCE = {"timeout": httpx.Timeout(ASK_SECONDS).as_dict()}
CODINGS = "gzip, deflate"
"""What an answer may be packed with: aiohttp would offer more than httpx unpacks."""


class Rest:
    """``api_key`` identifies the service to the gateway."""

    def __init__(self, client: httpx.AsyncClient, supabase_url: str, api_key: str) -> None:
        self._client = client
        self._url = f"{supabase_url}/rest/v1"
        self._api_key = api_key

    async def ask(
        self,
        method: str,
        table: str,
        parameters: Mapping[str, str],
        *,
        bearer: str | None = None,
        body: object = None,
        expect: int = httpx.codes.OK,
    ) -> Any:
        """The rows that a request tells of. ``bearer`` is whom it is made for, the API key itself when None.

        Raises :class:`Refused`, or :class:`DatabaseUnavailable` for anything but the status that was expected.
        """
        headers = {
            "apikey": self._api_key,
            "Authorization": f"Bearer {bearer or self._api_key}",
            "Accept-Encoding": CODINGS,
        }
        if method != "GET":
            headers["Prefer"] = "return=representation"
        url = f"{self._url}/{table}"
        request = httpx.Request(method, url, params=parameters, headers=headers, json=body, extensions=PATIENCE)
        try:
            answer = await self._client.send(request)  # client.request would spend as long on what it adds
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise DatabaseUnavailable(f"{table}: {type(error).__name__} {error}") from error
        if answer.status_code == expect:
            return said
        complaint = f"{table}: HTTP {answer.status_code} {answer.text[:200]}"
        if answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            code = said.get("code") if isinstance(said, dict) else None
            raise Refused(complaint, answer.status_code, str(code or ""))
        raise DatabaseUnavailable(complaint)
