"""What nobody finds out: who has an account, and the tokens that are mailed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from httpx import AsyncClient

from app.database import Database
from app.identity import mails
from app.mail import sender
from app.parts import Parts
from tests.identity.factorkit import first_step, with_factor
from tests.identity.mailkit import errands_done, forgot, joined, link_in, proved, reset
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password
from tests.mail.kit import Postbox
from tests.mail.kit import serving as mail_server
from tests.replica import Start
from tests.secrecy.kit import Canaries, stores

# What is in an errand's row but whom it is for and when; of its context, which fields it has.
ERRANDS = """
    SELECT kind, user_id, language, links::text, expires_at, attempts,
           (SELECT string_agg(field, ' ') FROM json_object_keys(context) AS field) AS fields
    FROM mail_outbox WHERE recipient = $1 AND kind = 'password.forgot'
"""
_done: ContextVar[list[str] | None] = ContextVar("_done", default=None)


@asynccontextmanager
async def statements(db: Database) -> AsyncGenerator[list[str]]:
    """The statements of what is called in the body, each by its first three words; not those of other tasks."""
    done: list[str] = []
    connect = db.connection

    @asynccontextmanager
    async def heard() -> AsyncGenerator[Any]:
        async with connect() as connection:
            if _done.get() is not done:
                yield connection
                return
            with connection.query_logger(lambda query: done.append(" ".join(query.query.strip(" \n;").split()[:3]))):
                yield connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "connection", heard)
        told = _done.set(done)
        try:
            yield done
        finally:
            _done.reset(told)
        await asyncio.sleep(0)  # asyncpg tells in the loop's next turn


async def test_known_and_unknown_are_answered_alike_and_leave_the_same_work(
    client: AsyncClient, postbox: Postbox, parts: Parts, admin: SignedIn
) -> None:
    ada, _ = await joined(client, postbox)
    gone, _ = await joined(client, postbox)
    nobody = f"{new_name()}@example.org"
    assert (await admin.ask("PATCH", f"/users/{gone.id}", json={"is_active": False})).status_code == 200
    answers, work, rows = [], [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mails, "ERRAND_PAUSE", (3600.0, 3600.0))  # the sender leaves the rows alone
        for email in (ada.email, gone.email, nobody):
            async with statements(parts.db) as done:
                answers.append(await client.post("/password/forgot", json={"email": email}, headers=from_ip()))
            work.append(done)
            rows += await parts.db.fetch(ERRANDS, email)

    assert len({(answer.status_code, answer.content, tuple(sorted(answer.headers))) for answer in answers}) == 1
    assert work == [["BEGIN", "INSERT INTO mail_outbox", "COMMIT"]] * 3
    assert len(rows) == 3
    assert len(set(rows)) == 1
    await parts.db.execute("UPDATE mail_outbox SET due_at = clock_timestamp() WHERE kind = 'password.forgot'")
    parts.mails.wake()
    await postbox.to(ada.email or "", 2)
    await errands_done(parts)
    assert not await parts.db.fetch(
        "SELECT FROM one_time_tokens WHERE user_id = $1 AND purpose = 'password.reset'", gone.id
    )


@pytest.fixture
def hasty_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again soon."""
    for name in ("FIRST_RETRY", "NEXT_RETRY", "LONGEST_PAUSE", "POLL_SECONDS"):
        monkeypatch.setattr(sender, name, 0.05)


async def test_a_dump_of_both_stores_holds_no_token(start: Start, hasty_sender: None) -> None:
    """Taken while a letter of each purpose waits, for the mail's server is down."""
    postbox = Postbox()
    async with AsyncExitStack() as before:
        await before.enter_async_context(mail_server(postbox))
        service = await start(smtp_url=postbox.url, mail_from="no-reply@example.test")
        ada = await proved(service.client, postbox)
        session, port = await log_in(service.client, ada), postbox.port
    new, elsewhere = new_password(), f"{new_name()}@example.org"
    change = {"current_password": ada.password, "new_password": new}
    assert (await session.ask("POST", "/me/password", json=change)).status_code == 204
    assert (await session.ask("PATCH", "/me", json={"email": elsewhere})).status_code == 200
    await forgot(service.client, ada.email)
    await errands_done(service.parts)
    waiting = {row["kind"] for row in await service.parts.db.fetch("SELECT kind FROM mail_outbox")}
    assert waiting == {"password.changed", "email.change", "password.reset"}

    found = await stores(service.parts.settings.database_url, service.parts.settings.valkey_url)

    async with mail_server(postbox, port=port):
        reset_link = await link_in(postbox, ada.email or "", "reset-password")
        canaries = Canaries()
        canaries.keep_token("reset", reset_link)
        canaries.keep_token("not me", await link_in(postbox, ada.email or "", "not-me"))
        canaries.keep_token("verification", await link_in(postbox, elsewhere, "verify-email"))
    assert canaries.left_in(found) == {}
    assert await reset(service.client, reset_link) == 204


async def test_a_dump_of_both_stores_holds_no_seed_and_no_code(
    client: AsyncClient, ada: Person, owner_url: str, valkey_url: str
) -> None:
    _, authenticator = await with_factor(client, ada)
    canaries = Canaries()
    canaries.keep_seed("seed", authenticator.secret)
    canaries.keep_token("waiting login", await first_step(client, ada))
    for code in authenticator.codes:
        canaries.keep_recovery_code("recovery code", code)

    found = await stores(owner_url, valkey_url)

    assert canaries.left_in(found) == {}
