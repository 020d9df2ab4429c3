"""Who comes in: what a request shows of who sends it, verified, and the database's word on the project it asks for."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from service.access.belongings import Belongings, Table
from service.access.jwks import Verifier
from service.access.members import Members
from service.access.operators import OPERATOR, is_operators
from service.access.tickets import Tickets, refused
from service.access.tokens import Principal
from service.access.turns import Turns
from service.errors import ApiError, not_found

ASKED_AT_ONCE = 8
"""Questions for one user. With few of their own under way, a flood of one's requests leaves the database to others."""


@dataclass(frozen=True)
class Credential:
    """What a request brings: an access token (or the operator's), or a ticket."""

    text: str = field(repr=False)
    is_ticket: bool = False


@dataclass(frozen=True)
class Admission:
    """Who came in, and where to. ``organization_id`` is None for an operator, of whom the database was not asked.

    ``asked_at`` is when it was, in monotonic seconds. ``bom_id`` is set for who came to a BOM of the project.
    """

    principal: Principal
    project_id: str
    organization_id: str | None
    asked_at: float
    bom_id: str | None = None


class Gate:
    """Everything that lets a request through or answers it with an error."""

    def __init__(
        self,
        verifier: Verifier,
        members: Members,
        belongings: Belongings,
        tickets: Tickets,
        admin_token: str | None = None,
    ) -> None:
        self._verifier = verifier
        self._members = members
        self._belongings = belongings
        self._tickets = tickets
        self._admin_token = admin_token
        self._turns = Turns(ASKED_AT_ONCE)

    async def identify(self, credential: Credential, *, operators: bool = False) -> Principal:
        """Whom a credential speaks for. With ``operators``, the operator's token is one; a ticket is spent.

        Raises :class:`service.errors.ApiError` 401, or 503 when the token's key can't be fetched;
        :class:`service.errors.DatabaseUnavailable` or :class:`service.errors.DatabaseRefused` for a ticket.
        """
        if not credential.is_ticket:
            if operators and is_operators(credential.text, self._admin_token):
                return OPERATOR
            return await self._verifier.verify(credential.text)
        token, projects = await self._tickets.redeem(credential.text)
        principal = await self._verifier.verify(token)
        return Principal(principal.user_id, principal.expires_at, token, projects)

    async def enter(self, principal: Principal, project_id: str) -> Admission:
        """Lets somebody into a project.

        Raises :class:`service.errors.ApiError` 404, or 401 for a ticket to others;
        :class:`service.errors.DatabaseUnavailable` or :class:`service.errors.DatabaseRefused`.
        """
        if principal.is_operator:
            return Admission(principal, project_id, None, 0.0)
        if principal.projects is not None and project_id not in principal.projects:
            raise refused()
        async with self._turns.of(principal.user_id):
            membership = await self._members.require(principal, project_id)
        return Admission(principal, project_id, membership.organization_id, membership.asked_at)

    async def enter_by(self, principal: Principal, table: Table, row_id: str) -> Admission:
        """Lets somebody into the project of a row that they may see: what is staff's is for operators.

        Raises as :meth:`enter`; a row that may not be seen is a 404 too.
        """
        async with self._turns.of(principal.user_id):
            project_id = await self._belongings.project(principal, table, row_id)
        return await self.enter(principal, project_id)

    async def enter_bom(self, principal: Principal, bom_id: str) -> Admission:
        """As :meth:`enter_by`; that the BOM may be seen is asked again whenever the right is."""
        return replace(await self.enter_by(principal, "boms", bom_id), bom_id=bom_id)

    async def confirm(self, admission: Admission, since: float) -> float:
        """Asks for a user anew; returns as of when the answer is. Times are monotonic seconds.

        Out of turn: nobody keeps their streams by asking for other things without end. No answer older than ``since``
        counts. Raises as :meth:`enter`.
        """
        principal, bom_id = admission.principal, admission.bom_id
        if bom_id is not None and await self._belongings.project(principal, "boms", bom_id) != admission.project_id:
            raise not_found("BOM")
        return (await self._members.require(principal, admission.project_id, since)).asked_at

    async def admit(self, credential: Credential, project_id: str, *, operators: bool = False) -> Admission:
        """Both at once, for a route whose address names the project; raises what both raise."""
        return await self.enter(await self.identify(credential, operators=operators), project_id)

    async def require_role(self, admission: Admission, roles: Collection[str]) -> None:
        """Returns when the user has one of the roles now: it is asked each time, so a change works at once.

        Raises :class:`service.errors.ApiError` 403; what the database's not answering raises.
        """
        if admission.principal.is_operator:
            return
        async with self._turns.of(admission.principal.user_id):
            role = await self._members.role(admission.principal, admission.project_id)
        if role not in roles:
            needed = " or ".join(sorted(roles))
            raise ApiError(403, "forbidden", f"This takes the role {needed} in the project; yours is {role or 'none'}.")

    async def issue_ticket(self, admission: Admission, *more: Admission) -> tuple[str, int]:
        """A ticket to one user's projects, and for how many seconds it is good.

        Raises what :meth:`Tickets.issue` raises.
        """
        return await self._tickets.issue(admission.principal, [each.project_id for each in (admission, *more)])
