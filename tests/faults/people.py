"""People at their devices: they sign in, look, refresh, change things and leave, on both replicas, as dice decide."""

import asyncio
import itertools
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.history import Operation
from tests.faults.recorder import Recorder
from tests.kit import new_password

TRIES = 8  # of a change that has to be known to have happened before its person goes on
HASTY = 0.03  # of the requests are given up by their clients, who then do not know what came of them
PAUSE_SECONDS = 0.02  # between two looks
KEPT = 6  # sessions, the ended ones too, that a person goes on trying
KEYS = ("theme.own", "sidebar")
LOOKS = (
    ("me", "/me"),
    ("verify", "/verify"),
    ("may", "/verify?require=users:read"),
    ("list", "/users?page_size=1"),
    ("preference", f"/preferences/{KEYS[0]}"),
    ("preference", f"/preferences/{KEYS[1]}"),
)

_numbers = itertools.count(1)


@dataclass
class Held:
    """A session as its client holds it: all access tokens are good while it lives, and only the last refresh token."""

    id: str
    tokens: list[tuple[str, str]]  # access and refresh, by generation
    ended: bool = False  # an answer has said so
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # an honest client refreshes once at a time

    @property
    def access(self) -> str:
        return self.tokens[-1][0]

    @property
    def generation(self) -> int:
        return len(self.tokens) - 1


class Admin:
    """The one administrator whom nobody ends; acts on others."""

    def __init__(self, recorder: Recorder, dice: random.Random, password: str) -> None:
        self._recorder = recorder
        self._dice = dice
        self._password = password
        self._session = ""
        self._token = ""

    async def sign_in(self) -> None:
        body = {"username": "root", "password": self._password}
        answer = await self._recorder.do("login", 0, "POST", "/login", body=body, user="root", value=self._password)
        self._session, self._token = answer.body["session_id"], answer.body["access_token"]

    async def act(self, kind: str, method: str, path: str, *, body: object = None, **about: Any) -> Operation:
        replica = self._dice.randrange(2)
        return await self._recorder.do(
            kind, replica, method, path, body=body, token=self._token, bearer=self._session, **about
        )


class Person:
    """One account, from its registration until its actor has had enough of it."""

    def __init__(self, recorder: Recorder, admin: Admin, dice: random.Random) -> None:
        self.username = f"person-{next(_numbers)}-{secrets.token_hex(3)}"
        self.id = 0
        self.gone = False  # an outcome is not known on which all that follows would depend
        self._password = new_password()
        self._sessions: list[Held] = []
        self._recorder = recorder
        self._admin = admin
        self._dice = dice
        self._values = itertools.count(1)
        self._acts: list[tuple[int, Callable[[], Awaitable[object]]]] = [
            (8, self.sign_in),
            (10, self.refresh),
            (3, self.refresh_at_once),
            (1, self.replay),
            (4, self.log_out),
            (2, self.log_out_everywhere),
            (4, self.rename),
            (4, self.prefer),
            (1, self.change_password),
            (3, self.be_revoked),
            (3, self.be_promoted_and_demoted),
            (1, self.be_deactivated_and_reactivated),
        ]

    # ---- a life ---------------------------------------------------------------------------------------------------

    async def live(self, acts: int) -> None:
        if not await self.register():
            await asyncio.sleep(PAUSE_SECONDS)
            return
        await self.sign_in()
        looking = [asyncio.create_task(self.look_on()) for _ in range(2)]
        try:
            weights, choices = zip(*self._acts, strict=True)
            for _ in range(acts):
                if self.gone:
                    break
                await self._dice.choices(choices, weights)[0]()
        finally:
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)

    async def look_on(self) -> None:
        """All the while: is somebody let in who should not be, or the other way round?"""
        while True:
            held = self._any(live=self._dice.random() < 0.6)
            if held is not None:
                await self.look(held, self._dice.randrange(2))
            await asyncio.sleep(PAUSE_SECONDS * self._dice.random())

    async def look(self, held: Held, replica: int) -> None:
        kind, path = self._dice.choice(LOOKS)
        key = path.rpartition("/")[2] if kind == "preference" else ""
        access = self._dice.choice(held.tokens)[0]
        await self._do(kind, replica, "GET", path, token=access, bearer=held.id, key=key)

    async def probe(self, *ended: Held) -> None:
        """Right after an answer: every worker of both replicas has to know."""
        looks = [self.look(held, replica) for held in ended for replica in (0, 1, 0, 1)]
        await asyncio.gather(*looks)

    # ---- what a person does ---------------------------------------------------------------------------------------

    async def register(self) -> bool:
        body = {"username": self.username, "password": self._password}
        done = await self._do("register", self._somewhere(), "POST", "/register", body=body, value=self._password)
        if done.ok:
            self.id = done.body["id"]
        return done.ok

    async def sign_in(self) -> None:
        body = {"username": self.username, "password": self._password}
        done = await self._do("login", self._somewhere(), "POST", "/login", body=body, value=self._password)
        if done.ok:
            tokens = (done.body["access_token"], done.body["refresh_token"])
            self._sessions.append(Held(done.body["session_id"], [tokens]))
            del self._sessions[:-KEPT]

    async def refresh(self) -> None:
        held = self._any(live=True)
        if held is not None:
            async with held.turn:
                self._took(held, await self._refresh(held, self._somewhere(), held.generation))

    async def refresh_at_once(self) -> None:
        """Several tabs at once, and one that is late: the same successor for all of them."""
        held = self._any(live=True)
        if held is not None:
            async with held.turn:
                presented = held.generation
                done = await asyncio.gather(*(self._refresh(held, replica, presented) for replica in (0, 1, 0, 1)))
                done.append(await self._refresh(held, self._somewhere(), presented))
                for each in done:
                    self._took(held, each)

    async def replay(self) -> None:
        """A stolen token, two behind: the session ends, whoever holds it."""
        held = self._any(live=True)
        if held is None or held.generation < 2:
            return
        async with held.turn:
            done = await self._refresh(held, self._somewhere(), held.generation - 2)
            held.ended = done.status == 401
        if held.ended:
            await self.probe(held)

    async def log_out(self) -> None:
        held = self._any(live=True)
        if held is None:
            return
        if self._dice.random() < 0.5:
            done = await self._do(
                "logout", self._somewhere(), "POST", "/logout", token=held.access, bearer=held.id, session=held.id
            )
        else:
            body = {"refresh_token": held.tokens[-1][1]}
            done = await self._insist("logout_by_token", "POST", "/logout", body=body, session=held.id)
        if done.ok:
            held.ended = True
            await self.probe(held)
            await self._refresh(held, self._somewhere(), held.generation)

    async def log_out_everywhere(self) -> None:
        held = self._any(live=True)
        if held is None:
            return
        before = list(self._sessions)
        kind, query = self._dice.choice((("logout_all", ""), ("logout_others", "?except_current=true")))
        done = await self._insist(kind, "POST", f"/logout/all{query}", token=held.access, bearer=held.id)
        if done.ok:
            gone = [each for each in before if kind == "logout_all" or each is not held]
            for each in gone:
                each.ended = True
            await self.probe(*gone)

    async def rename(self) -> None:
        held = self._any(live=True)
        if held is not None:
            name = f"{self.username} {next(self._values)}"
            done = await self._do(
                "rename",
                self._somewhere(),
                "PATCH",
                "/me",
                body={"full_name": name},
                token=held.access,
                bearer=held.id,
                value=name,
            )
            if done.ok:
                await self.probe(held)

    async def prefer(self) -> None:
        held = self._any(live=True)
        if held is not None:
            key, value = self._dice.choice(KEYS), next(self._values)
            await self._do(
                "prefer",
                self._somewhere(),
                "PUT",
                f"/preferences/{key}",
                body=value,
                token=held.access,
                bearer=held.id,
                key=key,
                value=value,
            )

    async def change_password(self) -> None:
        held = self._any(live=True)
        if held is None:
            return
        before, new = list(self._sessions), new_password()
        done = await self._do(
            "password",
            self._somewhere(),
            "POST",
            "/me/password",
            body={"current_password": self._password, "new_password": new},
            token=held.access,
            bearer=held.id,
            value=new,
            answer={"current": self._password},
        )
        if done.unknown:
            self.gone = True
        elif done.ok:
            self._password = new
            for each in before:
                each.ended = each.ended or each is not held
            await self.probe(*before)

    # ---- what is done to a person ---------------------------------------------------------------------------------

    async def be_revoked(self) -> None:
        held = self._any(live=True)
        if held is None:
            return
        if self._dice.random() < 0.7:
            path, kind, ended = f"/sessions/{self.id}/{held.id}", "revoke", [held]
        else:
            path, kind, ended = f"/sessions/{self.id}", "revoke_all", list(self._sessions)
        session = held.id if kind == "revoke" else None
        done = await self._act(kind, "DELETE", path, session=session)
        if done.ok or done.status == 404:
            for each in ended:
                each.ended = True
            await self.probe(*ended)

    async def be_promoted_and_demoted(self) -> None:
        for value in (True, False):
            done = await self._act("set_admin", "PATCH", f"/users/{self.id}", body={"is_admin": value}, value=value)
            if not done.ok:
                self.gone = True
                return
            held = self._any(live=True)
            if held is not None:
                await asyncio.gather(*(self._may(held, replica) for replica in (0, 1, 0, 1)))

    async def be_deactivated_and_reactivated(self) -> None:
        before = list(self._sessions)
        for value in (False, True):
            done = await self._act("set_active", "PATCH", f"/users/{self.id}", body={"is_active": value}, value=value)
            if not done.ok:
                self.gone = True
                return
            for each in before:
                each.ended = True
            await self.probe(*before)
            await self.sign_in()

    # ---- requests -------------------------------------------------------------------------------------------------

    async def _may(self, held: Held, replica: int) -> None:
        path = "/verify?require=users:read"
        await self._do("may", replica, "GET", path, token=held.access, bearer=held.id)

    async def _refresh(self, held: Held, replica: int, generation: int) -> Operation:
        body = {"refresh_token": held.tokens[generation][1]}
        return await self._do("refresh", replica, "POST", "/refresh", body=body, session=held.id, generation=generation)

    def _took(self, held: Held, done: Operation) -> None:
        if done.ok and done.answer["generation"] == len(held.tokens):
            held.tokens.append((done.body["access_token"], done.body["refresh_token"]))
        elif done.status == 401:
            held.ended = True

    async def _insist(self, kind: str, method: str, path: str, **about: Any) -> Operation:
        """Again, and on another replica, until it is known to have happened; the same twice is as good as once."""
        return await _until_known(lambda: self._do(kind, self._somewhere(), method, path, **about))

    async def _act(self, kind: str, method: str, path: str, **about: Any) -> Operation:
        return await _until_known(lambda: self._admin.act(kind, method, path, user=self.username, **about))

    async def _do(self, kind: str, replica: int, method: str, path: str, **about: Any) -> Operation:
        if self._dice.random() < HASTY:
            about["patience_seconds"] = self._dice.uniform(0.001, 0.03)  # about as long as an answer takes
        return await self._recorder.do(kind, replica, method, path, user=self.username, **about)

    def _any(self, *, live: bool = False) -> Held | None:
        choice = [each for each in self._sessions if not (live and each.ended)]
        return self._dice.choice(choice) if choice else None

    def _somewhere(self) -> int:
        return self._dice.randrange(2)


async def _until_known(attempt: Callable[[], Awaitable[Operation]]) -> Operation:
    for _ in range(TRIES - 1):
        done = await attempt()
        if not done.unknown:
            return done
        await asyncio.sleep(0.2)
    return await attempt()
