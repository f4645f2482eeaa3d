"""Second factors as their users have them: an authenticator whose clock the test turns, and codes on paper."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pyotp
from httpx import AsyncClient, Response

from app.parts import Parts
from tests.kit import Person, SignedIn, from_ip, log_in, problem

STEP = 30  # seconds


@dataclass
class Authenticator:
    """Gives each code once, ahead of the clock by no more than a step."""

    secret: str
    codes: list[str] = field(default_factory=list)  # on paper

    def code(self, ahead: int = 0) -> str:
        return str(pyotp.TOTP(self.secret).at(time.time() + ahead * STEP))


async def within_a_step(ask: Callable[[], Awaitable[Response]]) -> Response:
    """What is answered to a code; asked once more, with the code of then, if the step has turned and it was refused."""
    step = time.time() // STEP
    answer = await ask()
    if answer.status_code == 401 and time.time() // STEP > step:
        return await ask()
    return answer


async def enrolled(session: SignedIn) -> Authenticator:
    """The session's user has an authenticator from now on; confirmed by the code of the step before this one."""
    answer = await session.ask("POST", "/me/mfa/totp")
    assert answer.status_code == 201, answer.text
    authenticator = Authenticator(answer.json()["secret"])
    confirmed = await within_a_step(
        lambda: session.ask("POST", "/me/mfa/totp/confirm", json={"code": authenticator.code(-1)})
    )
    assert confirmed.status_code == 200, confirmed.text
    authenticator.codes = confirmed.json()["recovery_codes"]
    return authenticator


async def first_step(client: AsyncClient, person: Person, **fields: Any) -> str:
    """The token of a login whose second factor is due."""
    body = {"username": person.username, "password": person.password, **fields}
    return str(problem(await client.post("/login", json=body, headers=from_ip()), 401, "mfa_required")["mfa_token"])


async def second_step(client: AsyncClient, mfa_token: str, **code: str) -> Response:
    return await client.post("/login/mfa", json={"mfa_token": mfa_token, **code}, headers=from_ip())


async def with_factor(client: AsyncClient, person: Person) -> tuple[SignedIn, Authenticator]:
    session = await log_in(client, person)
    return session, await enrolled(session)


async def long_ago(parts: Parts, session: SignedIn, minutes: int = 11) -> None:
    """The login was so many minutes ago, by the session's row and its entry; ten of them are present."""
    async with parts.db.transaction() as tx:
        statement = "UPDATE sessions SET auth_time = now() - make_interval(mins => $2) WHERE id = $1"
        await tx.execute(statement, session.id, minutes)
        change = await parts.entries.outbox.announce(tx, [f"s:{session.id}"])
    await parts.entries.outbox.settle(change)
