"""The letters of accounts, and the tokens that they carry; each is written in the transaction of what causes it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import SystemRandom

import msgspec

from app.client import Client
from app.database import Transaction
from app.devices import device_name
from app.errors import Unavailable
from app.identity.structs import UserEntry
from app.mail import outbox
from app.mail.outbox import Letter, Link
from app.proofs import queries as proofs
from app.proofs.queries import Issued
from app.proofs.tokens import INVITATION, LIFETIMES, OneTimeTokens, Purpose
from app.providers import LOCAL
from app.settings import Settings

WELCOME_PAUSE = 3.0  # seconds before the first letter to an address: what overtakes it makes it one letter fewer

ERRAND_PAUSE = (0.5, 2.0)  # seconds: who asks cannot tell by the next requests whether there was anything to do

# The pages of the console that letters link to, under PUBLIC_URL (docs/accounts.md).
PAGES = {
    Purpose.VERIFY_EMAIL: "console/verify-email",
    Purpose.RESET_PASSWORD: "console/reset-password",
    Purpose.NOT_ME: "console/not-me",
}
# The kinds of letters that are worth nothing without a token of the purpose. A notice stays true without its link.
KINDS: Mapping[Purpose, tuple[str, ...]] = {
    Purpose.VERIFY_EMAIL: ("email.verify", "email.change"),
    Purpose.RESET_PASSWORD: ("password.reset", "password.forced", "invitation"),
    Purpose.NOT_ME: (),
}


def mailed_link(settings: Settings, tokens: OneTimeTokens, link: Link) -> str:
    """Where a letter's link leads: always the service's own address, whatever a request said it was."""
    purpose = Purpose(link.purpose)
    return f"{settings.public_url}/{PAGES[purpose]}?token={tokens.issue(purpose, link.token_id)}"


class Mails:
    """Writes letters; where no mail can be sent it writes none.

    Args:
        wake: called after the commit of what may have written a letter.
        available: whether mail can be sent at all.
    """

    def __init__(self, wake: Callable[[], None], *, available: bool) -> None:
        self.wake = wake
        self._available = available

    def require(self) -> None:
        """Raises Unavailable where mail cannot be sent, so that nobody waits for one."""
        if not self._available:
            raise Unavailable("This installation sends no mail.")

    # ---- links ------------------------------------------------------------------------------------------------------

    async def void(self, tx: Transaction, user_id: int, *purposes: Purpose) -> None:
        """The tokens that are out for these purposes are void, and letters that wait with them are not sent."""
        await proofs.void(tx, user_id, purposes)
        await outbox.withdraw(tx, user_id, [kind for purpose in purposes for kind in KINDS[purpose]])

    async def cancel_move(self, tx: Transaction, person: UserEntry) -> None:
        """A change of address that waits for its link does not take place: whoever asked for it may be locked out."""
        await proofs.void_elsewhere(tx, person.id, Purpose.VERIFY_EMAIL, person.email)
        await outbox.withdraw(tx, person.id, ["email.change"])

    async def ask_to_verify(self, tx: Transaction, person: UserEntry) -> None:
        """Ask who was given an address, if one was, to prove it; after a pause."""
        if person.email is not None and person.is_active:
            await self._verify(tx, person, person.email, WELCOME_PAUSE)

    async def verify(self, tx: Transaction, person: UserEntry, email: str) -> None:
        """Ask whoever reads this address, which is the user's or is to be, to say so. Older links are void."""
        await self.void(tx, person.id, Purpose.VERIFY_EMAIL)
        await self._verify(tx, person, email)

    async def _verify(self, tx: Transaction, person: UserEntry, email: str, pause: float = 0.0) -> None:
        if not self._available:
            return
        issued = await proofs.issue(tx, Purpose.VERIFY_EMAIL, person.id, email, LIFETIMES[Purpose.VERIFY_EMAIL])
        kind = "email.verify" if email == person.email else "email.change"
        # A name that a provider brings is any text: nobody shall have us write it to a stranger's address.
        said = {} if person.provider == LOCAL else {"username": email}
        await self._write(tx, kind, person, email, {"verify": (Purpose.VERIFY_EMAIL, issued)}, said, pause)

    async def reset(self, tx: Transaction, person: UserEntry, kind: str = "password.reset") -> None:
        """A link by which whoever reads the user's address sets a new password. Older ones are void."""
        await self.void(tx, person.id, Purpose.RESET_PASSWORD)
        if not self._available or person.email is None:
            return
        seconds = INVITATION if kind == "invitation" else LIFETIMES[Purpose.RESET_PASSWORD]
        issued = await proofs.issue(tx, Purpose.RESET_PASSWORD, person.id, person.email, seconds)
        await self._write(tx, kind, person, person.email, {"reset": (Purpose.RESET_PASSWORD, issued)}, {})

    # ---- notices ----------------------------------------------------------------------------------------------------

    async def notice(
        self,
        tx: Transaction,
        kind: str,
        person: UserEntry,
        client: Client | None,
        *,
        to: str | None = None,
        **said: object,
    ) -> None:
        """Tell the user what has just happened to the account, with a link that says that it was somebody else.

        Only to an address that was proved: any other may be a stranger's, who would get the account by that link.

        Args:
            tx: of what has happened.
            kind: of the letter.
            person: whose account it is.
            client: his own; None for an administrator, whose place is his own affair, and the command line.
            to: his former address, where that is what has changed.
            said: what else the letter says.
        """
        email = to or person.email
        if not self._available or email is None or not person.email_verified:
            return
        issued = await proofs.issue(tx, Purpose.NOT_ME, person.id, email, LIFETIMES[Purpose.NOT_ME])
        if client is not None:
            said |= {"ip": client.ip, "device": device_name(client.user_agent)}
        said |= {"at": now(), "new_password": person.provider == LOCAL}  # who is known elsewhere signs in there
        await self._write(tx, kind, person, email, {"not_me": (Purpose.NOT_ME, issued)}, said)

    async def tell(self, tx: Transaction, kind: str, person: UserEntry, **said: object) -> None:
        """The same without a link: by it a former address, or nobody, would get into the account."""
        if self._available and person.email is not None and person.email_verified:
            await self._write(tx, kind, person, person.email, {}, {"at": now(), **said})

    async def leave_errand(self, tx: Transaction, kind: str, email: str, client: Client) -> None:
        """Something to be done for whoever asked, by a sender: see app/mail/sender.py."""
        pause = SystemRandom().uniform(*ERRAND_PAUSE)
        await outbox.write(tx, Letter(kind=kind, recipient=email, context=msgspec.structs.asdict(client), pause=pause))

    async def farewell(self, tx: Transaction, person: UserEntry) -> None:
        """The account is gone, and what was still to be sent to its user."""
        await outbox.withdraw(tx, person.id)
        await self.tell(tx, "account.deleted", person)

    async def _write(
        self,
        tx: Transaction,
        kind: str,
        person: UserEntry,
        email: str,
        tokens: Mapping[str, tuple[Purpose, Issued]],
        said: Mapping[str, object],
        pause: float = 0.0,
    ) -> None:
        letter = Letter(
            kind=kind,
            recipient=email,
            user_id=person.id,
            context={"username": person.username, **said},
            links={name: Link(purpose, issued.token_id) for name, (purpose, issued) in tokens.items()},
            expires_at=next((issued.expires_at for _, issued in tokens.values()), None),
            pause=pause,
        )
        await outbox.write(tx, letter)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
