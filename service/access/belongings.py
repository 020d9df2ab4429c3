"""Asks the database which project a row is in, as whoever wants to know: what RLS hides from a user is not there."""

from typing import Literal

from service.access.members import Members
from service.access.rest import Rest
from service.access.tokens import Principal
from service.errors import DatabaseUnavailable, Refused, not_found
from service.tables import STANDARD, Tables

Table = Literal["boms", "jobs", "proposed_nodes"]
NO_SUCH_TABLE = ("PGRST205", "42P01")
"""What PostgREST, and PostgreSQL, say where there is none: a database need not have all that rowcast's own has."""
NO_SUCH_ID = "22P02"
"""What PostgreSQL says of a UUID where ids are of another type."""
CALLED: dict[Table, str] = {"boms": "BOM", "jobs": "job", "proposed_nodes": "proposal"}


class Belongings:
    """``members`` asks as a user; ``rest`` has the secret key, for operators, to whom nothing is hidden.

    ``tables`` says how tables and columns are called in the database.
    """

    def __init__(self, members: Members, rest: Rest, tables: Tables = STANDARD) -> None:
        self._members = members
        self._rest = rest
        self._tables = tables.ours

    async def project(self, principal: Principal, table: Table, row_id: str) -> str:
        """The id of the project that a row is in, whose id is in its canonical form.

        Raises :class:`ApiError` 404 when there is no such row, it is in another's project, or it is staff's; 401 when
        the database refuses the token; :class:`DatabaseUnavailable` or :class:`DatabaseRefused`.
        """
        name, id_, project_id = self._names(table)
        parameters = {id_: f"eq.{row_id}", "select": f"{id_},{project_id}"}
        try:
            if principal.is_operator:
                said = await self._rest.ask("GET", name, parameters)
            else:
                said = await self._members.ask(name, parameters, principal.token)
        except Refused as error:
            if error.code in (*NO_SUCH_TABLE, NO_SUCH_ID):
                raise not_found(CALLED[table]) from None
            raise
        match said:
            case [dict(row)] if row.get(id_) == row_id and isinstance(found := row.get(project_id), str):
                return found
            case []:
                raise not_found(CALLED[table])
        raise DatabaseUnavailable(f"{table}: not an answer of the database ({str(said)[:200]})")

    def _names(self, table: Table) -> tuple[str, str, str]:
        """A table's name in the database, and those of its columns id and project_id."""
        if (there := self._tables.get(table)) is None:
            return table, "id", "project_id"
        return there.there, there.columns["id"], there.columns["project_id"]
