"""Sessions against a model: whatever is done to them, and on whichever replica, each answer is what a few dicts say."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from time import monotonic
from typing import Any, ClassVar, TypeVar

import pytest
from anyio import from_thread, to_thread
from httpx import AsyncClient, Response
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from hypothesis.vendor.pretty import RepresentationPrinter

from app.parts import Parts
from tests.kit import Person, SignedIn, from_ip, new_password, problem, register

ACCOUNT_FAILURES = 10  # that an account is allowed in 15 minutes
GRACE, PAST_GRACE = 10, 11  # seconds after a refresh

# So many examples vary all they can; of more, Hypothesis makes most by repeating parts of the ones before.
BOUNDS = settings(
    max_examples=9,
    stateful_step_count=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # with Phase.shrink: a shorter counterexample, some minutes later
    suppress_health_check=[HealthCheck.too_slow],
)

Said = tuple[int, str]  # the status, and the code of a problem
OK, DONE = (200, ""), (204, "")
REVOKED, FORBIDDEN, NOT_FOUND = (401, "session_revoked"), (403, "forbidden"), (404, "not_found")
WRONG, LIMITED = (401, "invalid_credentials"), (429, "rate_limited")
UNKNOWN, REUSED = (401, "invalid_refresh_token"), (401, "refresh_token_reused")


# ---- the model ----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class User:
    person: Person
    is_admin: bool = False
    is_active: bool = True
    failures: int = 0


@dataclass(eq=False)
class Session:
    id: str
    user: User
    name: str
    is_live: bool = True
    generation: int = 0
    in_grace: bool = False  # the token of the generation before is still answered
    refreshed_at: float = 0  # on the clock of `monotonic`


@dataclass(eq=False)
class Tokens:
    """What one answer brought."""

    session: Session
    generation: int
    access: str
    refresh: str

    def __repr__(self) -> str:
        return f"<session {self.session.name}, generation {self.generation}>"


@dataclass
class Model:
    """What is to be said, and how things stand then; knows neither HTTP nor a store."""

    users: dict[int, User] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)

    def live(self, user: User) -> set[str]:
        return {each.id for each in self.sessions.values() if each.is_live and each.user is user}

    def end(self, session_ids: set[str]) -> None:
        for session_id in session_ids:
            self.sessions[session_id].is_live = False

    def end_one(self, user: User, session: Session) -> Said:
        if not session.is_live or session.user is not user:
            return NOT_FOUND
        session.is_live = False
        return DONE

    def enter(self, session: Session, *, as_admin: bool = False, then: Said = OK) -> Said:
        """With an access token of the session, of any generation."""
        if not session.is_live:
            return REVOKED
        return FORBIDDEN if as_admin and not session.user.is_admin else then

    def try_password(self, user: User, *, right: bool, then: Said = OK) -> Said:
        if user.failures >= ACCOUNT_FAILURES:
            return LIMITED
        if right and user.is_active:
            return then
        user.failures += 1
        return WRONG

    def open(self, session_id: str, user: User) -> Session:
        assert session_id not in self.sessions
        self.sessions[session_id] = Session(session_id, user, str(len(self.sessions)))
        return self.sessions[session_id]

    def refresh(self, session: Session, generation: int, now: float) -> Said:
        if not session.is_live:
            return UNKNOWN
        if generation == session.generation:
            session.generation += 1
            session.in_grace, session.refreshed_at = True, now
            return OK
        if generation == session.generation - 1 and session.in_grace:
            return OK
        session.is_live = False
        return REUSED


# ---- the machine --------------------------------------------------------------------------------------------------


@dataclass
class World:
    replicas: list[AsyncClient]
    root: SignedIn
    parts: Parts


def those(wanted: Callable[[Tokens], bool]) -> st.SearchStrategy[Tokens]:
    """One of those among the tokens seen so far; where there are none, any."""
    return st.runner().flatmap(
        lambda machine: st.sampled_from([each for each in machine.tokens if wanted(each)] or machine.tokens)
    )


AT = st.sampled_from((0, 1))  # which replica
WHO = st.sampled_from((0, 1))  # which user
MOSTLY = st.sampled_from((True, True, True, False))
NEWEST = those(lambda each: each.session.is_live and each.generation == each.session.generation)
REPLACED = those(lambda each: each.session.is_live and each.generation == each.session.generation - 1)
OLDER = those(lambda each: each.session.is_live and each.generation < each.session.generation - 1)
ADMINS = those(lambda each: each.session.is_live and each.session.user.is_admin)
DEAD = those(lambda each: not each.session.is_live)
LIVE = NEWEST | REPLACED | OLDER
ANY = LIVE | DEAD
ACTORS = st.runner().map(lambda machine: machine.root) | ADMINS | NEWEST


@dataclass
class Act:
    do: Callable[..., None]
    drawn: dict[str, Any]

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:  # noqa: FBT001 - Hypothesis' own
        printer.text(
            f"{self.do.__name__}({', '.join(f'{name}={value!r}' for name, value in sorted(self.drawn.items()))})"
        )


ACTS: list[st.SearchStrategy[Act]] = []
M = TypeVar("M", bound=Callable[..., None])


def act(share: int, **drawn: st.SearchStrategy[Any]) -> Callable[[M], M]:
    """One of the things that the machine does, so many times out of all the shares.

    None is a rule of its own: Hypothesis leaves out half of the rules of an example, and examples are few here.
    """

    def of(do: M) -> M:
        ACTS.extend(st.fixed_dictionaries(drawn).map(partial(Act, do)) for _ in range(share))
        return do

    return of


class Machine(RuleBasedStateMachine):
    """Two users, whom two replicas serve, and an administrator beyond the model."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.tokens: list[Tokens] = []
        self.has_differed = False
        root = self.world.root
        administrator = User(Person(root.user_id, "root", ""), is_admin=True)
        self.root = Tokens(Session(root.id, administrator, "root"), 0, root.access, root.refresh_token)
        for number in (0, 1):
            self.model.users[number] = User(from_thread.run(register, self.world.replicas[number]))
            for at in (0, 1):
                self.log_in(at=at, who=number, right=True)

    # ---- asking

    def ask(self, at: int, method: str, path: str, tokens: Tokens | None = None, **kwargs: Any) -> Response:
        headers = from_ip() | ({"Authorization": f"Bearer {tokens.access}"} if tokens else {})
        return from_thread.run(partial(self.world.replicas[at].request, method, path, headers=headers, **kwargs))

    def same(self, found: object, expected: object) -> None:
        self.has_differed = found != expected
        assert found == expected

    def said(self, answer: Response, expected: Said) -> bool:
        """Whether it was a success; and it has to be what the model says."""
        code = "" if answer.is_success else str(answer.json()["code"])
        self.same((answer.status_code, code), expected)
        if not answer.is_success:
            problem(answer, *expected)
        return answer.is_success

    def ended(self, answer: Response, entered: Said, user: User, session: Session) -> None:
        self.said(answer, self.model.end_one(user, session) if entered == OK else entered)

    def keep(self, answer: Response, session: Session) -> None:
        """Keep the tokens of this answer: of one generation there is one refresh token, however often it is given."""
        body = answer.json()
        tokens = Tokens(session, session.generation, body["access_token"], body["refresh_token"])
        for each in self.tokens:
            is_same = each.session is session and each.generation == tokens.generation
            self.same(each.refresh == tokens.refresh, is_same)
        self.same(body["session_id"], session.id)
        self.shown(body["user"], session.user)
        self.tokens.append(tokens)

    def shown(self, body: dict[str, Any], user: User) -> None:
        person = user.person
        expected = {
            "id": person.id,
            "username": person.username,
            "is_admin": user.is_admin,
            "is_active": user.is_active,
        }
        self.same({name: body[name] for name in expected}, expected)

    def turn_back(self, session: Session, seconds: int) -> None:
        """As if the last refresh of the session had been so long ago."""
        statement = "UPDATE sessions SET rotated_at = clock_timestamp() - make_interval(secs => $2) WHERE id = $1"
        from_thread.run(self.world.parts.db.execute, statement, session.id, seconds)

    def lose_entries(self, tokens: Tokens, *, warm: bool) -> None:
        """Unless warm: Valkey is to forget what it knows of the session and the user."""
        if not warm:
            keys = f"s:{tokens.session.id}", f"u:{tokens.session.user.person.id}"
            from_thread.run(self.world.parts.entries.forget, *keys)

    # ---- what people do

    @act(3, at=AT, who=WHO, right=MOSTLY)
    def log_in(self, at: int, who: int, *, right: bool) -> None:
        user = self.model.users[who]
        password = user.person.password if right else "wrong horse"
        answer = self.ask(at, "POST", "/login", json={"username": user.person.username, "password": password})

        if self.said(answer, self.model.try_password(user, right=right)):
            self.keep(answer, self.model.open(answer.json()["session_id"], user))

    @act(4, at=AT, tokens=NEWEST)
    def refresh(self, at: int, tokens: Tokens) -> None:
        session = tokens.session
        if session.in_grace and monotonic() - session.refreshed_at > GRACE / 2:
            self.turn_back(session, 0)  # the machine is slow; the model's clock stands still
            session.refreshed_at = monotonic()
        answer = self.ask(at, "POST", "/refresh", json={"refresh_token": tokens.refresh})

        if self.said(answer, self.model.refresh(session, tokens.generation, monotonic())):
            self.keep(answer, session)

    @act(2, at=AT, tokens=REPLACED, in_time=MOSTLY)
    def refresh_once_more(self, at: int, tokens: Tokens, *, in_time: bool) -> None:
        if tokens.session.in_grace and not in_time:
            self.turn_back(tokens.session, PAST_GRACE)
            tokens.session.in_grace = False
        self.refresh(at, tokens)

    @act(2, at=AT, tokens=OLDER | DEAD)
    def replay(self, at: int, tokens: Tokens) -> None:
        self.refresh(at, tokens)

    @act(1, at=AT, tokens=ANY, warm=MOSTLY)
    def me(self, at: int, tokens: Tokens, *, warm: bool) -> None:
        self.lose_entries(tokens, warm=warm)
        answer = self.ask(at, "GET", "/me", tokens)

        if self.said(answer, self.model.enter(tokens.session)):
            self.shown(answer.json(), tokens.session.user)

    @act(2, at=AT, tokens=ADMINS | ANY, as_admin=st.booleans(), warm=MOSTLY)
    def verify(self, at: int, tokens: Tokens, *, as_admin: bool, warm: bool) -> None:
        self.lose_entries(tokens, warm=warm)
        answer = self.ask(at, "GET", "/verify", tokens, params={"require": "users:read"} if as_admin else {})

        if self.said(answer, self.model.enter(tokens.session, as_admin=as_admin)):
            user = tokens.session.user
            found = [answer.headers[f"x-auth-{name}"] for name in ("user-id", "session-id", "roles")]
            self.same(found, [str(user.person.id), tokens.session.id, "admin" if user.is_admin else ""])

    @act(1, at=AT, tokens=LIVE)
    def log_out(self, at: int, tokens: Tokens) -> None:
        answer = self.ask(at, "POST", "/logout", tokens)

        if self.said(answer, self.model.enter(tokens.session, then=DONE)):
            self.model.end({tokens.session.id})

    @act(1, at=AT, tokens=LIVE)
    def log_out_by_refresh_token(self, at: int, tokens: Tokens) -> None:
        answer = self.ask(at, "POST", "/logout", json={"refresh_token": tokens.refresh})

        self.said(answer, DONE)
        self.model.end({tokens.session.id})

    @act(1, at=AT, tokens=LIVE, except_current=st.booleans())
    def log_out_all(self, at: int, tokens: Tokens, *, except_current: bool) -> None:
        answer = self.ask(at, "POST", "/logout/all", tokens, params={"except_current": except_current})

        if self.said(answer, self.model.enter(tokens.session, then=DONE)):
            self.model.end(self.model.live(tokens.session.user) - ({tokens.session.id} if except_current else set()))

    @act(1, at=AT, tokens=LIVE, other=ANY)
    def end_one_of_mine(self, at: int, tokens: Tokens, other: Tokens) -> None:
        answer = self.ask(at, "DELETE", f"/me/sessions/{other.session.id}", tokens)

        self.ended(answer, self.model.enter(tokens.session), tokens.session.user, other.session)

    @act(1, at=AT, tokens=LIVE, right=MOSTLY)
    def change_password(self, at: int, tokens: Tokens, *, right: bool) -> None:
        user, new = tokens.session.user, new_password()
        asked = {"current_password": user.person.password if right else "wrong horse", "new_password": new}
        answer = self.ask(at, "POST", "/me/password", tokens, json=asked)

        expected = self.model.enter(tokens.session)
        if expected == OK:
            expected = self.model.try_password(user, right=right, then=DONE)
        if self.said(answer, expected):
            user.person = replace(user.person, password=new)
            self.model.end(self.model.live(user) - {tokens.session.id})

    # ---- what administrators do

    @act(2, at=AT, tokens=ADMINS)
    def list_users(self, at: int, tokens: Tokens) -> None:
        answer = self.ask(at, "GET", "/users", tokens, params={"page_size": 1})

        self.said(answer, self.model.enter(tokens.session, as_admin=True))

    @act(1, at=AT, actor=ACTORS, other=ANY, who=WHO)
    def revoke_one(self, at: int, actor: Tokens, other: Tokens, who: int) -> None:
        user = self.model.users[who]
        answer = self.ask(at, "DELETE", f"/sessions/{user.person.id}/{other.session.id}", actor)

        self.ended(answer, self.model.enter(actor.session, as_admin=True), user, other.session)

    @act(1, at=AT, actor=ACTORS, who=WHO)
    def revoke_all(self, at: int, actor: Tokens, who: int) -> None:
        user = self.model.users[who]
        answer = self.ask(at, "DELETE", f"/sessions/{user.person.id}", actor)

        if self.said(answer, self.model.enter(actor.session, as_admin=True)):
            live = self.model.live(user)
            self.same(answer.json(), {"revoked": len(live)})
            self.model.end(live)

    @act(3, at=AT, actor=ACTORS, who=WHO, right=st.sampled_from(("is_admin", "is_admin", "is_active")), has=MOSTLY)
    def change_right(self, at: int, actor: Tokens, who: int, right: str, *, has: bool) -> None:
        user = self.model.users[who]
        answer = self.ask(at, "PATCH", f"/users/{user.person.id}", actor, json={right: has})

        if self.said(answer, self.model.enter(actor.session, as_admin=True)):
            setattr(user, right, has)
            if not user.is_active:
                self.model.end(self.model.live(user))
            self.shown(answer.json(), user)

    # ---- one after the other, and in the end

    @rule(act=st.one_of(ACTS))
    def then(self, act: Act) -> None:
        act.do(self, **act.drawn)

    def teardown(self) -> None:
        if self.has_differed:  # and has been told
            return
        for at, user in product((0, 1), self.model.users.values()):
            listed = self.ask(at, "GET", f"/sessions/{user.person.id}", self.root).json()["items"]
            self.same({each["id"] for each in listed}, self.model.live(user))
        for number, tokens in enumerate({each.session.id: each for each in self.tokens}.values()):
            answer = self.ask(number % 2, "GET", "/me/sessions", tokens)
            if self.said(answer, self.model.enter(tokens.session)):
                listed = {each["id"]: each["current"] for each in answer.json()["items"]}
                live = self.model.live(tokens.session.user)
                self.same(listed, {session_id: session_id == tokens.session.id for session_id in live})


@pytest.mark.parametrize("number", range(3))  # seconds each; `make torture` goes on for minutes
async def test_each_answer_is_what_the_model_says(
    replicas: list[AsyncClient], admin: SignedIn, parts: Parts, number: int
) -> None:
    @seed(number)
    class MachineOfTwoReplicas(Machine):
        world = World(replicas, admin, parts)

    await to_thread.run_sync(partial(run_state_machine_as_test, MachineOfTwoReplicas, settings=BOUNDS))
