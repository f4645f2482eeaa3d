"""The letters of accounts, and the tokens that they carry; each is written in the transaction of what causes it."""

from collections.abc import Callable
from datetime import UTC, datetime

from app.client import Client
from app.database import Transaction
from app.devices import device_name
from app.errors import Unavailable
from app.identity.structs import UserEntry
from app.mail import outbox
from app.mail.outbox import Letter, Link
from app.proofs import queries as proofs
from app.proofs.queries import Issued
from app.proofs.tokens import INVITATION, LIFETIMES, Purpose

# Seconds before the first letter to a new user, which nobody has asked for: a reset or another address in the meantime
# makes it one letter fewer, and what somebody waits for goes first.
WELCOME_PAUSE = 3.0


class Mails:
    """Writes letters; where no mail can be sent it writes none.

    Args:
        available: whether mail can be sent at all.
        wake: called once a letter is committed.
    """

    def __init__(self, wake: Callable[[], None], *, available: bool) -> None:
        self._available = available
        self.wake = wake

    def require(self) -> None:
        """Raises Unavailable where mail cannot be sent, so that nobody waits for one."""
        if not self._available:
            raise Unavailable("This installation sends no mail.")

    async def verify(self, tx: Transaction, person: UserEntry, email: str, pause: float = 0.0) -> None:
        """Ask whoever reads this address, which is the user's or is to be, to say so. Older letters are void.

        Args:
            tx: of what makes it necessary.
            person: whose address it is, or is to be.
            email: the address.
            pause: seconds before the letter is sent.
        """
        if not self._available:
            return
        await outbox.withdraw(tx, person.id, ["email.verify", "email.change"])
        await proofs.void(tx, person.id, [Purpose.VERIFY_EMAIL])
        issued = await proofs.issue(tx, Purpose.VERIFY_EMAIL, person.id, email, LIFETIMES[Purpose.VERIFY_EMAIL])
        kind = "email.verify" if email == person.email else "email.change"
        await self._write(tx, kind, person, email, {}, "verify", Purpose.VERIFY_EMAIL, issued, pause)

    async def reset(self, tx: Transaction, person: UserEntry, kind: str = "password.reset") -> None:
        """A link by which whoever reads the user's address sets a new password. Older ones are void."""
        if not self._available or person.email is None:
            return
        await outbox.withdraw(tx, person.id, ["password.reset", "invitation"])
        seconds = INVITATION if kind == "invitation" else LIFETIMES[Purpose.RESET_PASSWORD]
        await proofs.void(tx, person.id, [Purpose.RESET_PASSWORD])
        issued = await proofs.issue(tx, Purpose.RESET_PASSWORD, person.id, person.email, seconds)
        await self._write(tx, kind, person, person.email, {}, "reset", Purpose.RESET_PASSWORD, issued)

    async def notice(
        self,
        tx: Transaction,
        kind: str,
        person: UserEntry,
        client: Client | None,
        *,
        to: str | None = None,
        new_email: str | None = None,
    ) -> None:
        """Tell the user what has just happened to the account, with a link that says that it was somebody else.

        Args:
            tx: of what has happened.
            kind: of the letter.
            person: whose account it is.
            client: who did it; None for the command line.
            to: his former address, where that is what has changed.
            new_email: the one that has taken its place.
        """
        email = to or person.email
        if not self._available or email is None:
            return
        issued = await proofs.issue(tx, Purpose.NOT_ME, person.id, email, LIFETIMES[Purpose.NOT_ME])
        context: dict[str, object] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "ip": client.ip if client else None,
            "device": device_name(client.user_agent) if client else None,
        }
        if to is not None:
            context["new_email"] = new_email
        await self._write(tx, kind, person, email, context, "not_me", Purpose.NOT_ME, issued)

    async def farewell(self, tx: Transaction, person: UserEntry) -> None:
        """The account is gone, and what was still to be sent to its user."""
        await outbox.withdraw(tx, person.id)
        if self._available and person.email is not None:
            context = {"username": person.username, "at": datetime.now(UTC).isoformat(timespec="seconds")}
            letter = Letter(kind="account.deleted", recipient=person.email, user_id=person.id, context=context)
            await outbox.write(tx, letter)

    async def _write(
        self,
        tx: Transaction,
        kind: str,
        person: UserEntry,
        email: str,
        context: dict[str, object],
        name: str,
        purpose: Purpose,
        issued: Issued,
        pause: float = 0.0,
    ) -> None:
        letter = Letter(
            kind=kind,
            recipient=email,
            user_id=person.id,
            context={"username": person.username, **context},
            links={name: Link(purpose, issued.token_id)},
            expires_at=issued.expires_at,
            pause=pause,
        )
        await outbox.write(tx, letter)
