"""A batch of an import: one transaction, a handful of statements however many lines it has.

Locks are taken in one order: the turn among imports; the table of roles, where a line names some; the administrators
together, where one may go; the users who are there, by ascending ids; then names and addresses by the rows that are
new, and the users' sessions.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from app.audit.events import Event, Happened, record_all
from app.cache.entries import Entries
from app.cache.outbox import Change
from app.client import Client
from app.database import Transaction
from app.errors import AppError, EmailTaken, Forbidden, LastAdmin, ValidationFailed
from app.factors import queries as factors
from app.identity import bulk_queries, queries, role_queries
from app.identity.administration import Administration, may_take_an_admin
from app.identity.administrators import is_active_admin
from app.identity.bulk_queries import NewAccount
from app.identity.import_lines import Numbered, ReportLine, refused
from app.identity.roles import about_roles, roles_after
from app.identity.structs import UserEntry
from app.sessions.service import Sessions
from app.sessions.structs import ADMIN, user_key

BY = {"by": "import"}  # in the audit
PROFILE = ("email", "full_name", "is_active")


class Importer(Struct, frozen=True, kw_only=True):
    """Who imports, as he stands when a batch is written; by default whoever may run commands on the server."""

    is_admin: bool = True
    permissions: frozenset[str] = frozenset()
    client: Client | None = None
    user_id: int | None = None
    session_id: UUID | None = None


class Done(Struct):
    """What a transaction has made of its lines."""

    report: list[ReportLine]
    again: list[Numbered]  # others were at these users at the same moment
    changes: list[Change]  # to be settled after the commit


class Batch:
    """Writes lines, each of another user, in a transaction."""

    def __init__(
        self,
        tx: Transaction,
        importer: Importer,
        entries: Entries,
        sessions: Sessions,
        administration: Administration,
    ) -> None:
        self._tx = tx
        self._importer = importer
        self._entries = entries
        self._sessions = sessions
        self._administration = administration
        self._roles: Mapping[str, frozenset[str]] = {}
        self._done = Done([], [], [])

    async def write(self, lines: Sequence[Numbered], hashes: Mapping[int, str]) -> Done:
        """Make who is new, and change who is there.

        Args:
            lines: what to write.
            hashes: of the passwords of those who were not there a moment ago, by the number of the line.

        Raises:
            asyncpg.UniqueViolationError: an address was taken at this moment; nothing was written.
        """
        await bulk_queries.take_turn(self._tx)
        if any(about_roles(each.line) for each in lines):
            await role_queries.hold_still(self._tx)
        if any(may_take_an_admin(each.line) for each in lines):
            await queries.hold_admins(self._tx)
        there = await bulk_queries.hold(self._tx, [each.key for each in lines])
        named = {role for each in lines for role in roles_after(each.line, [])}
        held = {role for person in there.values() for role in person.roles}
        self._roles = await bulk_queries.permissions_of(self._tx, sorted(named | held))
        await self._create([each for each in lines if each.key not in there], hashes)
        await self._change([(each, there[each.key]) for each in lines if each.key in there])
        return self._done

    # ---- who is new -----------------------------------------------------------------------------------------------

    async def _create(self, lines: Sequence[Numbered], hashes: Mapping[int, str]) -> None:
        new: dict[str, Numbered] = {}
        for each in lines:
            try:
                self._require(roles_after(each.line, []))
            except AppError as error:
                self._refuse(each, error)
                continue
            if each.line.password is not None and each.number not in hashes:  # he was there a moment ago
                self._done.again.append(each)
            else:
                new[each.key] = each
        if not new:
            return
        ids = await bulk_queries.add(self._tx, [_account(each, hashes) for each in new.values()])
        roles = {ids[key]: roles_after(new[key].line, []) for key in ids}
        await bulk_queries.change_roles(self._tx, {user_id: (given, ()) for user_id, given in roles.items()})
        events = [Happened(Event.USER_CREATED, user_id, {"roles": given, **BY}) for user_id, given in roles.items()]
        await self._note(events)
        self._done.report += [
            ReportLine(line=new[key].number, status="created", id=user_id) for key, user_id in ids.items()
        ]
        await self._look_why([each for key, each in new.items() if key not in ids])

    async def _look_why(self, lines: Sequence[Numbered]) -> None:
        """Whose address is taken is refused; whose name was taken at this moment is there by now."""
        if not lines:
            return
        there = await bulk_queries.known(self._tx, [each.key for each in lines])
        taken = await bulk_queries.holders(self._tx, [each.line.email for each in lines if each.line.email])
        for each in lines:
            if each.key not in there and each.line.email in taken:
                self._refuse(each, EmailTaken())
            else:
                self._done.again.append(each)

    # ---- who is there ---------------------------------------------------------------------------------------------

    async def _change(self, lines: Sequence[tuple[Numbered, UserEntry]]) -> None:
        wanted: list[tuple[Numbered, UserEntry, UserEntry]] = []
        for each, before in lines:
            after = _changed(before, each)
            try:
                self._require(before.roles)
                if after == before:
                    self._done.report.append(ReportLine(line=each.number, status="skipped", id=before.id))
                    continue
                self._require(after.roles)
                if after.email != before.email and before.id == self._importer.user_id:
                    raise Forbidden("Change your own address at /me: it has to be proved.")
            except AppError as error:
                self._refuse(each, error)
            else:
                wanted.append((each, before, after))
        if len(wanted) < len(lines):  # as somebody else has just made them, perhaps: the report vouches for that
            self._done.changes.append(await self._entries.outbox.unsettled(self._tx))
        await self._write(await self._possible(wanted))

    async def _possible(
        self, wanted: Sequence[tuple[Numbered, UserEntry, UserEntry]]
    ) -> list[tuple[UserEntry, UserEntry]]:
        """Those that leave every address its owner, and the service an administrator."""
        moves = {after.email for _, before, after in wanted if after.email and after.email != before.email}
        owners = await bulk_queries.holders(self._tx, moves) if moves else {}
        leaves = any(is_active_admin(before) and not is_active_admin(after) for _, before, after in wanted)
        admins = await bulk_queries.active_admins(self._tx) if leaves else 0
        possible = []
        for each, before, after in wanted:
            if after.email in moves and owners.setdefault(after.email, after.id) != after.id:
                self._refuse(each, EmailTaken())
                continue
            difference = is_active_admin(after) - is_active_admin(before)
            if difference < 0 and admins + difference < 1:
                self._refuse(each, LastAdmin())
                continue
            admins += difference
            possible.append((before, after))
            self._done.report.append(ReportLine(line=each.number, status="updated", id=after.id))
        return possible

    async def _write(self, pairs: Sequence[tuple[UserEntry, UserEntry]]) -> None:
        if not pairs:
            return
        await bulk_queries.update(self._tx, [after for _, after in pairs])
        roles = {after.id: _differing(before, after) for before, after in pairs if before.roles != after.roles}
        await bulk_queries.change_roles(self._tx, roles)
        await self._note(happened for before, after in pairs for happened in _events(before, after))
        keys = [user_key(after.id) for _, after in pairs]
        self._done.changes.append(await self._entries.outbox.announce(self._tx, keys))
        for before, after in pairs:  # few, as a rule, and each has letters and sessions of his own
            if before.is_active and not after.is_active:
                await factors.void_pending(self._tx, after.id)
                by, client = self._importer.user_id, self._importer.client
                ended, _ = await self._sessions.revoke_in(self._tx, after.id, "deactivated", by, client)
                self._done.changes.append(ended)
            if (before.email, before.is_active, before.roles) != (after.email, after.is_active, after.roles):
                await self._administration.tell(self._tx, before, after, at_new_address=False)

    # ---- both -----------------------------------------------------------------------------------------------------

    def _require(self, roles: Iterable[str]) -> None:
        """Raises Forbidden or ValidationFailed unless these are roles and the importer may hand them out."""
        if any(role not in self._roles for role in roles):
            raise ValidationFailed(("roles", "names a role that does not exist"))
        if self._importer.is_admin:
            return
        if ADMIN in roles:
            raise Forbidden("This needs an administrator.")
        if not frozenset().union(*(self._roles[role] for role in roles)) <= self._importer.permissions:
            raise Forbidden("This is about rights beyond your own.")

    def _refuse(self, each: Numbered, error: AppError) -> None:
        self._done.report.append(refused(each.number, error))

    async def _note(self, events: Iterable[Happened]) -> None:
        by = self._importer
        await record_all(self._tx, list(events), by.client, actor_id=by.user_id, session_id=by.session_id)


def _account(each: Numbered, hashes: Mapping[int, str]) -> NewAccount:
    line = each.line
    return NewAccount(
        username=line.username,
        email=line.email or None,
        full_name=line.full_name or None,
        password_hash=hashes.get(each.number, line.password_hash),
        is_active=line.is_active is not False,
        must_change_password=line.must_change_password,
    )


def _changed(before: UserEntry, each: Numbered) -> UserEntry:
    """The user as he is to be."""
    line = each.line
    email = before.email if line.email is UNSET else line.email
    return msgspec.structs.replace(
        before,
        email=email,
        email_verified=before.email_verified and email == before.email,
        full_name=before.full_name if line.full_name is UNSET else line.full_name,
        is_active=before.is_active if line.is_active is UNSET else line.is_active,
        roles=roles_after(line, before.roles),
    )


def _differing(before: UserEntry, after: UserEntry) -> tuple[list[str], list[str]]:
    """The roles that come, and those that go."""
    return sorted(set(after.roles) - set(before.roles)), sorted(set(before.roles) - set(after.roles))


def _events(before: UserEntry, after: UserEntry) -> Iterable[Happened]:
    changed = [name for name in PROFILE if getattr(before, name) != getattr(after, name)]
    if changed:
        flag = {"is_active": after.is_active} if "is_active" in changed else {}
        yield Happened(Event.USER_UPDATED, after.id, {"changed": changed, **flag, **BY})
    if before.roles != after.roles:
        added, removed = _differing(before, after)
        yield Happened(Event.ROLE_CHANGED, after.id, {"added": added, "removed": removed, **BY})
