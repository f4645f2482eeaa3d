"""One GPUStack: whether it is there and to be believed, and whether a password is good there (docs/gpustack.md)."""

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from random import SystemRandom
from urllib.parse import urlencode

import structlog

from app.background import end
from app.errors import Overloaded
from app.gpustack import answers
from app.gpustack.answers import Account, GpustackAway, GpustackMisconfigured, Refused, Version
from app.metrics import Metrics
from app.outbound import Answer, Away, Outbound, OutboundError

log = structlog.get_logger(__name__)

DEADLINE = 2.0  # seconds of a verification, with all that it waits for; argon2 for who is let in without it comes after
TRY_SECONDS = 1.5  # of one question: a login takes it 0.12 s on one loop, and PLACES of them may be before it
TRIES = 3
PAUSE = (0.05, 0.2)  # seconds between two tries, by chance within
PLACES = 8  # logins that a server sends it at a time, over all workers
UNANSWERED = 3  # different names in a row that it did not answer: then it is away for everybody
MOST_BYTES = 1 << 16  # of an answer about one user: a thousand times what there is to say
LONGEST_NAME = 255  # characters
STUMBLES = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # a NUL is a 500 there; the others are in nobody's name

LOOK_SECONDS = 60.0  # between two looks at one that is there
AWAY_SECONDS = 1.0  # and at one that is not
DOUBT_SECONDS = 0.5  # between two looks that failures ask for
LOOK_DEADLINE = 2.0  # seconds of a look: three questions
JITTER = 0.2  # of the times between looks, either way: replicas do not ask together


class State(IntEnum):
    """As the metrics have it; of several workers the largest tells."""

    OK = 0
    AWAY = 1
    MISCONFIGURED = 2


class Instance:
    """Asks one GPUStack.

    It is looked at in the background: its version, whether it lets in anybody (0.6 to 2.1 do so from their own host),
    and whether it can refuse nobody's password, which is the whole way of a login. Until that has gone well nothing is
    taken from it. While it is away, or not to be believed, whoever asks is told so at once, and so is who waits.

    Who is away is decided by what no account can bring about: a look that fails, or UNANSWERED names in a row without
    an answer. One account may make it stumble (5xx) as often as it likes.

    Args:
        url: where its paths begin.
        outbound: the way there.
        metrics: told how verifications end.
        workers: how many processes of this server share PLACES.
    """

    def __init__(self, url: str, outbound: Outbound, metrics: Metrics, *, workers: int = 1) -> None:
        self.url = url
        self.state: State | None = None  # None: not looked at yet
        self.reason = ""  # of a state that is not OK
        self.latency_ms: float | None = None  # of the last look that went well
        self._outbound = outbound
        self._metrics = metrics
        self._prefix = ""
        self._places = asyncio.Semaphore(max(1, PLACES // workers))
        self._waiting: set[asyncio.Timeout] = set()
        self._unanswered: set[str] = set()
        self._looked = asyncio.Event()
        self._doubt = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        what = "0: GPUStack is there, 1: it is away (or was not asked yet), 2: it is not to be believed."
        metrics.gauge("auth_gpustack_state", what, lambda: State.AWAY if self.state is None else self.state, "livemax")

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        await end(self._keeper)

    # ---- verifying ------------------------------------------------------------------------------------------------

    async def verify(self, username: str, password: str) -> Account | Refused:
        """Whose password this is, or that it is nobody's of this name.

        Raises:
            GpustackAway: it could not be asked within DEADLINE.
            GpustackMisconfigured: what it answers is not to be believed.
            Overloaded: it is there, and more are waiting than it can verify.
        """
        with self._metrics.gpustack() as outcome:
            if not askable(username, password):
                outcome.ended("refused")
                return Refused()
            try:
                found = await self._within_deadline(username, password)
            except GpustackAway:
                outcome.ended("away")
                raise
            except GpustackMisconfigured:
                outcome.ended("misconfigured")
                raise
            refused = "deactivated" if isinstance(found, Refused) and found.deactivated else "refused"
            outcome.ended("verified" if isinstance(found, Account) else refused)
            return found

    async def _within_deadline(self, username: str, password: str) -> Account | Refused:
        failed = asyncio.Event()
        waiting = asyncio.timeout(DEADLINE)
        try:
            async with waiting:
                self._waiting.add(waiting)
                await self._looked.wait()
                self.require()
                return await self._try(username, password, failed)
        except TimeoutError:
            self.require()
            if failed.is_set():
                raise GpustackAway("no answer in time") from None
            raise Overloaded from None  # it is there: that others were faster lets nobody in without it
        finally:
            self._waiting.discard(waiting)

    async def _try(self, username: str, password: str, failed: asyncio.Event) -> Account | Refused:
        left = TRIES
        while True:
            left -= 1
            try:
                async with self._places:
                    found = await self._sign_in(self._prefix, username, password)
            except GpustackAway as away:
                failed.set()
                self._failed(username, away)
                if not left:
                    raise
            except GpustackMisconfigured:
                self._doubt.set()
                raise
            else:
                self._unanswered.clear()
                return found
            self.require()
            await asyncio.sleep(SystemRandom().uniform(*PAUSE))

    async def _sign_in(self, prefix: str, username: str, password: str) -> Account | Refused:
        """By the form of a login, for nothing else proves a password; its cookie is used once, for `me`."""
        form = urlencode({"username": username, "password": password}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await self._ask("POST", "/auth/login", headers, content=form)
        refused = answers.refusal(answer)
        if refused is not None:
            return refused
        session = {"Cookie": f"{answers.COOKIE}={answers.cookie(answer)}"}
        account = answers.read(await self._ask("GET", f"{prefix}/users/me", session), Account)
        if account.username != username:
            raise GpustackMisconfigured("a login as somebody else")
        return account if account.is_active else Refused(deactivated=True)

    def _failed(self, username: str, away: GpustackAway) -> None:
        self._doubt.set()
        if not away.answered:
            self._unanswered.add(username)
            if len(self._unanswered) >= UNANSWERED:
                self._become(State.AWAY, away.reason)

    # ---- asking ---------------------------------------------------------------------------------------------------

    def require(self) -> None:
        """Raises GpustackAway or GpustackMisconfigured unless it is there, and to be believed."""
        if self.state is State.MISCONFIGURED:
            raise GpustackMisconfigured("as the last look found")
        if self.state is not State.OK:
            raise GpustackAway("since the last look")

    async def ask(self, path: str, headers: Mapping[str, str], *, seconds: float, most: int = MOST_BYTES) -> Answer:
        """What it answers below its API's prefix, if it is not 5xx.

        Raises:
            GpustackAway, GpustackMisconfigured: as for `verify`.
        """
        self.require()
        try:
            return await self._ask("GET", f"{self._prefix}{path}", headers, seconds=seconds, most=most)
        except GpustackAway:
            self._doubt.set()
            raise

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        content: bytes = b"",
        seconds: float = TRY_SECONDS,
        most: int = MOST_BYTES,
    ) -> Answer:
        try:
            answer = await self._outbound.ask(
                method, self.url + path, seconds=seconds, headers=headers, content=content, most=most
            )
        except Away as away:
            raise GpustackAway(str(away)) from None
        except OutboundError as error:
            raise GpustackMisconfigured(str(error)) from None
        if answer.status >= answers.SERVER_ERROR:
            raise GpustackAway(f"status {answer.status}", answered=True)
        return answer

    # ---- looking --------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            self._doubt.clear()
            await self.look()
            await asyncio.sleep(DOUBT_SECONDS)
            pause = LOOK_SECONDS if self.state is State.OK else AWAY_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._doubt.wait(), pause * SystemRandom().uniform(1 - JITTER, 1 + JITTER))

    async def look(self) -> None:
        """See how it is; what fails makes nobody wait for it from now on."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(LOOK_DEADLINE):
                prefix = await self._examine()
        except TimeoutError:
            self._become(State.AWAY, f"no answers within {LOOK_DEADLINE:g} s")
        except GpustackAway as away:
            self._become(State.AWAY, away.reason)
        except GpustackMisconfigured as found:
            self._become(State.MISCONFIGURED, found.reason)
        else:
            self._prefix = prefix
            self.latency_ms = round((time.perf_counter() - started) * 1000, 2)
            self._become(State.OK)
        self._looked.set()

    async def _examine(self) -> str:
        """The prefix of its API, once it has shown that it refuses whom it does not know."""
        prefix = answers.prefix(answers.read(await self._ask("GET", "/version"), Version).version)
        nobodys = {"Authorization": f"Bearer gpustack_{secrets.token_hex(8)}_{secrets.token_hex(16)}"}
        let_in = await self._ask("GET", f"{prefix}/users/me", nobodys)
        if let_in.status == answers.OK:
            raise GpustackMisconfigured("it lets in whoever asks from where we are: upgrade it, or ask from elsewhere")
        if answers.refusal(let_in) is None:
            raise GpustackMisconfigured(f"status {let_in.status} for a key that nobody has")
        name, password = f"gatehouse-{secrets.token_hex(8)}", secrets.token_hex(16)
        if not isinstance(await self._sign_in(prefix, name, password), Refused):
            raise GpustackMisconfigured("a login of a name that nobody has")
        return prefix

    def _become(self, state: State, reason: str = "") -> None:
        if state is not self.state:
            if state is State.OK:
                log.info("gpustack.ok", version_prefix=self._prefix)
            else:
                log.warning("gpustack.away" if state is State.AWAY else "gpustack.misconfigured", reason=reason)
        self.state, self.reason = state, reason
        if state is State.OK:
            self._unanswered.clear()
            return
        self.latency_ms = None
        for waiting in self._waiting:
            if not waiting.expired():
                waiting.reschedule(asyncio.get_running_loop().time())


def is_name(username: str) -> bool:
    """Whether somebody can sign in there by this name."""
    return 0 < len(username) <= LONGEST_NAME and STUMBLES.search(username) is None


def askable(username: str, password: str) -> bool:
    """Whether it can be asked of these without stumbling, and the password be kept by us."""
    return (
        is_name(username)
        and bool(password)
        and "\0" not in password
        and not any("\ud800" <= each <= "\udfff" for each in password)
    )
