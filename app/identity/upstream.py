"""Passwords that GPUStack keeps: whose they are, and what stands in for it while it is away."""

from contextlib import suppress
from uuid import UUID

from msgspec import Struct

from app.client import Client
from app.database import Database
from app.errors import Overloaded
from app.gpustack import queries as gpustack
from app.gpustack.answers import GpustackAway, Refused
from app.gpustack.instance import Instance
from app.identity import gates, shadow_queries
from app.identity.passwords import Passwords
from app.identity.shadow_queries import Shadow
from app.identity.shadows import Origin, SaysMore, Shadows, Taken
from app.metrics import Metrics
from app.sessions import amr
from app.sessions.queries import Gate


class Shown(Struct, frozen=True):
    """Somebody who has shown that he knows the password, and the gate of his session."""

    user_id: int
    identity_id: UUID
    has_email: bool
    gate: Gate
    ways: list[str]


class NotShown(Struct, frozen=True):
    """Somebody who has not; `away` where GPUStack itself could not be asked."""

    reason: str
    away: GpustackAway | None = None


class Upstream:
    """Asks GPUStack for the passwords of its own users.

    Its no is final. While it is away, and in no other case, our own verifier stands in: of the password that it last
    took, for GPUSTACK_OFFLINE_HOURS, and never for an administrator's rights (app/sessions/authenticator.py).
    """

    def __init__(
        self,
        db: Database,
        instance: Instance,
        shadows: Shadows,
        passwords: Passwords,
        metrics: Metrics,
        offline_hours: int,
    ) -> None:
        self._db = db
        self._instance = instance
        self._shadows = shadows
        self._passwords = passwords
        self._metrics = metrics
        self._hours = offline_hours

    async def find(self, username: str) -> Shadow | None:
        """Whose name this is there, as far as we know."""
        return await shadow_queries.by_name(self._db, self._shadows.issuer, username, self._hours)

    async def show(self, username: str, known: Shadow | None, password: str, client: Client) -> Shown | NotShown:
        """Whether this is the password of GPUStack's user of this name.

        Raises:
            GpustackAway: it cannot be asked, and nobody of this name may be let in without it.
            GpustackMisconfigured: what answers is not to be believed.
            Overloaded: more than it can verify, or than can be hashed.
        """
        try:
            taken = await self._taken(username, password, client)
        except GpustackAway as away:
            return await self._offline(known, password, away)
        if isinstance(taken, Refused):
            return await self._refused(known, password, taken, client)
        gate = gates.identity_gate(taken.identity_id, with_factor=False)
        return Shown(taken.user_id, taken.identity_id, taken.has_email, gate, amr.BY_PASSWORD)

    async def confirm(self, user_id: int, username: str, password: str, client: Client) -> UUID | None:
        """The identity of a shadow whose password this is; None if it is another one. Nothing stands in for GPUStack.

        Raises:
            GpustackAway, GpustackMisconfigured, Overloaded: as above.
        """
        taken = await self._taken(username, password, client)
        if isinstance(taken, Refused):
            await self._refused(await self.find(username), password, taken, client)
            return None
        return taken.identity_id if taken.user_id == user_id else None

    async def _taken(self, username: str, password: str, client: Client) -> Taken | Refused:
        """GPUStack's answer, brought over; what gives more than is known here is asked for a second time."""
        found = await self._instance.verify(username, password)
        if isinstance(found, Refused):
            return found
        verifier = await self._verifier(password)
        try:
            return await self._shadows.sign_in(found, verifier, client)
        except SaysMore:
            found = await self._instance.verify(username, password)
        if isinstance(found, Refused):
            return found
        return await self._shadows.sign_in(found, verifier, client, asked_again=True)

    async def _verifier(self, password: str) -> str | None:
        """None where none is to be kept. One that is not made in time is not worth a login, and the old one goes."""
        if self._hours:
            with suppress(Overloaded):
                return await self._passwords.hash(password)
        return None

    async def _refused(self, known: Shadow | None, password: str, refused: Refused, client: Client) -> NotShown:
        """What follows from a no: who is deactivated there is shut out, and a password that was changed is void."""
        if refused.deactivated and known is not None:
            await self._shadows.deactivate(known.subject, Origin(client))
        if self._hours:
            verifier = known.verifier if known else None
            with suppress(Overloaded):  # everybody's no takes as long
                if await self._passwords.verify(verifier, password) and known and verifier:
                    await gpustack.forget_verifier(self._db, known.identity_id, verifier)
        if refused.deactivated:
            return NotShown("inactive")
        return NotShown("unknown_user" if known is None else "wrong_password")

    async def _offline(self, known: Shadow | None, password: str, away: GpustackAway) -> Shown | NotShown:
        """Who may be let in without GPUStack; everybody else hears that it is away, after the same work."""
        if not self._hours:
            raise away from None
        verifier = known.verifier if known else None
        matches = await self._passwords.verify(verifier, password, aside=True)
        if known is None or verifier is None:
            raise away from None
        if not matches:  # it may have been changed there; but to guess costs tries
            return NotShown("wrong_password", away)
        self._metrics.let_in_offline()
        gate = shadow_queries.offline_gate(known, self._hours)
        return Shown(known.user_id, known.identity_id, known.has_email, gate, [*amr.BY_PASSWORD, amr.OFFLINE])
