"""Sends what the outbox holds, beside all requests: one sender a process, one letter one sender."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from random import SystemRandom
from typing import Any, Literal, TypeAlias
from uuid import UUID

import asyncpg
import structlog
from jinja2 import TemplateError
from msgspec import Struct

from app.background import end
from app.database import Database, Transaction
from app.errors import Unavailable
from app.mail import queries
from app.mail.console import Console
from app.mail.letters import BadAddress, Letters
from app.mail.outbox import Link
from app.mail.queries import Claimed
from app.mail.smtp import LETTER_SECONDS, Broken, Connection, Refused, ServerAway, Smtp
from app.metrics import Metrics
from app.settings import Settings

log = structlog.get_logger(__name__)

POLL_SECONDS = 4.0  # between two looks at the outbox of others; who has written wakes the sender of his own process
JITTER = 0.2  # of every pause, either way
BATCH = 20  # rows a claim
BREAKS = 5  # letters in a row that break their connections: then it is not for the letters, but for the server
BATCH_SECONDS = 30.0  # after which nothing claimed is begun any more
MARGIN = 30.0  # seconds for what is asked of PostgreSQL meanwhile: 5 s a statement
LEASE = BATCH_SECONDS + LETTER_SECONDS + MARGIN  # seconds that a row is nobody else's: longer than all it may take
ERRAND_SECONDS = 10.0  # for a handler, whose transaction is short
GRACE = 0.3  # seconds that stopping waits for the letter under way

FIRST_RETRY = 2.0  # seconds, doubled with every attempt up to
NEXT_RETRY = 60.0  # seconds, in the first ten minutes; then a tenth of the letter's age, up to
LAST_RETRY = 3600.0  # seconds
LONGEST_PAUSE = 60.0  # seconds between two tries to reach a server that is away


class Errand(Struct, frozen=True):
    """What a handler is told: a row that is no letter, but something to do."""

    recipient: str
    context: Mapping[str, Any]


Handler: TypeAlias = Callable[[Transaction, Errand], Awaitable[None]]
Ended: TypeAlias = Literal["given_up", "expired"]


class Sender:
    """The outbox's other end.

    A letter is removed once the server has accepted it. A process that dies between the two, or hears no answer to a
    whole mail, sends it once more, after the lease or as a retry, with the same Message-ID: rather twice than never.
    No connection to PostgreSQL is held while the mail's server is talked to.
    """

    def __init__(
        self,
        db: Database,
        settings: Settings,
        link: Callable[[Link], str],
        handlers: Mapping[str, Handler],
        metrics: Metrics,
    ) -> None:
        self.available = bool(settings.smtp_url) or settings.development
        self.waiting = 0  # rows at the last look
        self._oldest_since: float | None = None  # when the first of them was written, on the monotonic clock
        self._db = db
        self._handlers = handlers
        self._metrics = metrics
        self._letters = Letters(settings, link)
        self._server = Smtp(settings.smtp_url, self._letters.sender) if settings.smtp_url else Console()
        self._next_due = POLL_SECONDS  # seconds from the last look
        self._woken = asyncio.Event()
        self._stopping = False
        self._busy = False  # a letter may be under way
        self._failures = 0  # times in a row that the server was away
        self._held: dict[UUID, Claimed] = {}  # claimed, and not begun
        self._sent: set[UUID] = set()  # accepted by the server, and not removed yet
        self._keeper: asyncio.Task[None] | None = None
        metrics.gauge("auth_mail_waiting", "Mails that waited.", lambda: self.waiting, over_workers="livemax")
        metrics.gauge("auth_mail_oldest_seconds", "How long the first of them does.", lambda: self.oldest, "livemax")

    @property
    def oldest(self) -> float:
        """Seconds that the mail which was written first has waited; 0.0 if none did at the last look."""
        return 0.0 if self._oldest_since is None else time.monotonic() - self._oldest_since

    @property
    def away(self) -> bool:
        """Whether the server could not be reached the last time."""
        return self._failures > 0

    def start(self) -> None:
        if self.available:
            self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Within a second: the letter under way is finished or keeps its lease, for it may have been accepted.

        What was claimed beside it goes back, so that another replica takes it at once.
        """
        self._stopping = True
        if self._keeper is not None and self._busy:
            await asyncio.wait({self._keeper}, timeout=GRACE)
        await end(self._keeper)

    def wake(self) -> None:
        """Look at once, for something was committed; while the server is away, that changes nothing."""
        self._woken.set()

    async def _keep(self) -> None:
        while not self._stopping:
            self._woken.clear()
            more = False
            try:
                more = await self._round()
            except Exception as error:  # noqa: BLE001 - a sender that has ended would be missed by nobody
                log.warning("mail.failed", reason=repr(error.__cause__ or error)[:200])
            if self._failures:
                await asyncio.sleep(_around(min(2.0 ** min(self._failures, 10), LONGEST_PAUSE)))
            elif not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(_around(POLL_SECONDS), self._next_due)):
                        await self._woken.wait()

    async def _round(self) -> bool:
        """Claim what is due and see to it; whether there may be more."""
        await self._remove_sent()
        until = time.monotonic() + BATCH_SECONDS
        found = await queries.claim(self._db, LEASE, BATCH)
        self.waiting, claimed = found.waiting, found.claimed
        self._oldest_since = time.monotonic() - found.oldest if found.waiting else None
        self._next_due = POLL_SECONDS if found.next_due is None else found.next_due
        self._held = {each.id: each for each in claimed}
        try:
            await self._see_to(claimed, until)
        finally:
            await self._give_back()
        return len(claimed) == BATCH or any(each.kind in self._handlers for each in claimed)

    async def _see_to(self, claimed: list[Claimed], until: float) -> None:
        letters = []
        for each in claimed:
            if self._stopping or time.monotonic() > until:
                return
            if each.expired:
                await self._drop(each, "expired", "its time is over")
            elif handler := self._handlers.get(each.kind):
                await self._run(each, handler)
            elif message := await self._compose(each):
                letters.append((each, message))
        if letters:
            await self._send(letters, until)

    async def _give_back(self) -> None:
        held, self._held = list(self._held.values()), {}
        if held:
            with suppress(Unavailable, asyncpg.PostgresError):  # then their lease ends
                await queries.give_back(self._db, held)

    # ---- errands --------------------------------------------------------------------------------------------------

    async def _run(self, claimed: Claimed, handler: Handler) -> None:
        """Remove the row and do what it asks, both or neither."""
        try:
            async with asyncio.timeout(ERRAND_SECONDS), self._db.transaction() as tx:
                if await queries.remove(tx, [claimed.id]):
                    await handler(tx, Errand(recipient=claimed.recipient, context=claimed.context))
            del self._held[claimed.id]
        except Exception as error:  # noqa: BLE001 - a handler is another room's
            await self._postpone(claimed, type(error).__name__)

    # ---- letters --------------------------------------------------------------------------------------------------

    async def _compose(self, claimed: Claimed) -> bytes | None:
        """None if it cannot be: a template that is not right is mended by the operator, and the letter sent then."""
        try:
            return await asyncio.to_thread(self._letters.compose, claimed)
        except BadAddress:
            await self._drop(claimed, "given_up", "nobody can be written to at this address")
        except TemplateError as error:
            await self._postpone(claimed, (str(error) or type(error).__name__).partition("\n")[0])
        except Exception as error:  # noqa: BLE001 - links are another room's; what it says may hold one
            await self._postpone(claimed, type(error).__name__)
        return None

    async def _send(self, letters: list[tuple[Claimed, bytes]], until: float) -> None:
        """One connection for all; where none can be had, the rest goes back and the sender pauses.

        A connection that breaks in the middle of a letter may do so because of that letter: the others go on by another
        one, unless letter after letter breaks it.
        """
        self._busy = True
        broken = 0  # letters in a row
        try:
            while letters and not self._stopping and time.monotonic() <= until:
                async with self._server.connection() as connection:
                    while letters and not self._stopping and time.monotonic() <= until:
                        try:
                            await self._send_one(connection, *letters.pop(0))
                        except Broken:
                            broken += 1
                            if broken >= BREAKS:
                                raise
                            break
                        broken = 0
            self._failures = 0
        except ServerAway as away:
            self._failures += 1
            log.warning("mail.server_away", reason=away.reason, times=self._failures)
        finally:
            self._busy = False

    async def _send_one(self, connection: Connection | Console, claimed: Claimed, message: bytes) -> None:
        del self._held[claimed.id]
        try:
            await connection.send(claimed.recipient, message)
        except Refused as refused:
            if refused.permanent:
                await self._drop(claimed, "given_up", refused.reason)
            else:
                await self._postpone(claimed, refused.reason)
        except ServerAway as away:  # perhaps it is the letter after all that breaks the connection: others first
            await self._postpone(claimed, away.reason)
            raise
        else:
            self._sent.add(claimed.id)
            self._metrics.mailed("sent")
            log.info("mail.sent", id=str(claimed.id), kind=claimed.kind)
            await self._remove_sent()

    async def _remove_sent(self) -> None:
        if self._sent:
            await queries.remove(self._db, self._sent)
            self._sent.clear()

    async def _drop(self, claimed: Claimed, result: Ended, reason: str) -> None:
        self._held.pop(claimed.id, None)
        await queries.remove(self._db, [claimed.id])
        self._metrics.mailed(result)
        log.warning("mail.given_up", id=str(claimed.id), kind=claimed.kind, reason=reason)

    async def _postpone(self, claimed: Claimed, reason: str) -> None:
        self._held.pop(claimed.id, None)
        await queries.postpone(self._db, claimed, back_off(claimed.attempts, claimed.age), reason)
        self._metrics.mailed("retried")
        log.info("mail.postponed", id=str(claimed.id), kind=claimed.kind, attempts=claimed.attempts, reason=reason)


def back_off(attempts: int, age: float) -> float:
    """Seconds until the next attempt at a letter of this age."""
    doubled = FIRST_RETRY * 2.0 ** min(attempts - 1, 20)
    return _around(min(doubled, max(NEXT_RETRY, age / 10), LAST_RETRY))


def _around(seconds: float) -> float:
    return seconds * SystemRandom().uniform(1 - JITTER, 1 + JITTER)
