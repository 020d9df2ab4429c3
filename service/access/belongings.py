"""Asks the database which project a row is in, as whoever wants to know: what RLS hides from a user is not there."""

from typing import Literal

from service.access.members import Members
from service.access.rest import Rest
from service.access.tokens import Principal
from service.errors import DatabaseUnavailable, not_found

Table = Literal["boms", "jobs", "proposed_nodes"]
CALLED: dict[Table, str] = {"boms": "BOM", "jobs": "job", "proposed_nodes": "proposal"}


class Belongings:
    """``members`` asks as a user; ``rest`` has the secret key, for operators, to whom nothing is hidden."""

    def __init__(self, members: Members, rest: Rest) -> None:
        self._members = members
        self._rest = rest

    async def project(self, principal: Principal, table: Table, row_id: str) -> str:
        """The id of the project that a row is in, whose id is in its canonical form.

        Raises :class:`ApiError` 404 when there is no such row, it is in another's project, or it is staff's; 401 when
        the database refuses the token; :class:`DatabaseUnavailable` or :class:`DatabaseRefused`.
        """
        parameters = {"id": f"eq.{row_id}", "select": "id,project_id"}
        if principal.is_operator:
            said = await self._rest.ask("GET", table, parameters)
        else:
            said = await self._members.ask(table, parameters, principal.token)
        match said:
            case [{"id": str(id_), "project_id": str(project_id)}] if id_ == row_id:
                return project_id
            case []:
                raise not_found(CALLED[table])
        raise DatabaseUnavailable(f"{table}: not an answer of the database ({str(said)[:200]})")
