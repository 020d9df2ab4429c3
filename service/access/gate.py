"""Who comes in: the token of a request, verified, and the database's word on the project it asks for."""

from service.access.jwks import Verifier
from service.access.members import Members
from service.access.tokens import Principal


class Gate:
    """Everything that lets a request through or answers it with an error."""

    def __init__(self, verifier: Verifier, members: Members) -> None:
        self._verifier = verifier
        self._members = members

    async def admit(self, token: str, project_id: str) -> Principal:
        """The caller, who may read the project.

        Raises :class:`service.errors.ApiError` 401, 404, or 503 when the token's key can't be fetched;
        :class:`service.errors.DatabaseUnavailable` or :class:`service.errors.DatabaseRefused`.
        """
        principal = await self._verifier.verify(token)
        await self._members.require(principal, project_id)
        return principal
