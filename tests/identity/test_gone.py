"""What somebody else has changed between a request's beginning and its end counts."""

from uuid import UUID

import msgspec
import pytest
from httpx import AsyncClient

from app.audit import erasures
from app.client import Client
from app.database import Database, Transaction
from app.errors import InvalidCredentials, InvalidOneTimeToken, NotFound
from app.identity import erasure, queries
from app.identity.confirmation import Confirmation
from app.identity.structs import (
    AccountDeletion,
    Credentials,
    Forgotten,
    MailedToken,
    PasswordReset,
    ProfileChange,
    UserEntry,
)
from app.limits.quota import Quota
from app.mail.sender import Errand
from app.parts import Parts
from app.proofs import queries as proofs
from app.proofs.queries import Proof
from app.proofs.tokens import OneTimeTokens, Purpose
from tests.identity.mailkit import joined, proved, token, use
from tests.identity.webauthnkit import added, login_options, sign_in
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem, register
from tests.mail.kit import Postbox
from tests.replica import Start

CLIENT = Client(ip="192.0.2.1", user_agent="", request_id="x")


async def test_who_is_gone_finds_nothing_of_his(
    client: AsyncClient, parts: Parts, admin: SignedIn, ada: Person
) -> None:
    session = await log_in(client, ada)
    caller = await parts.authenticator.caller(session.access)
    assert (await admin.ask("DELETE", f"/users/{ada.id}")).status_code == 204

    for late in (
        parts.emails.change(caller, f"{new_name()}@example.org", CLIENT),
        parts.emails.change(caller, None, CLIENT),
        parts.emails.resend(caller, CLIENT),
        parts.accounts.delete(caller, ada.password, CLIENT),
        parts.accounts.change(caller, ProfileChange(full_name="Ada"), CLIENT),
        parts.holdings.export(ada.id),
    ):
        with pytest.raises(NotFound):
            await late


async def test_a_failure_that_comes_after_the_deletion_names_nobody(
    client: AsyncClient, parts: Parts, admin: SignedIn, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = parts.passwords.verify

    async def late(hashed: str | None, password: str) -> bool:
        assert (await admin.ask("DELETE", f"/users/{ada.id}")).status_code == 204
        return await verify(hashed, password)

    monkeypatch.setattr(parts.passwords, "verify", late)
    wrong = {"username": ada.username, "password": new_password()}

    refused = await client.post("/login", json=wrong, headers=from_ip())

    problem(refused, 401, "invalid_credentials")
    rows = await parts.db.fetch(
        "SELECT event, user_id FROM audit_events WHERE request_id = $1", refused.headers["x-request-id"]
    )
    assert [tuple(row) for row in rows] == [("login.failed", None)]


async def test_a_failure_does_not_wait_for_a_deletion_under_way(client: AsyncClient, parts: Parts, ada: Person) -> None:
    """Ten of them would hold all connections of their replica meanwhile."""
    wrong = {"username": ada.username, "password": new_password()}
    async with parts.db.transaction() as tx:
        await tx.execute("DELETE FROM users WHERE id = $1", ada.id)

        refused = await client.post("/login", json=wrong, headers=from_ip())

    problem(refused, 401, "invalid_credentials")
    rows = await parts.db.fetch(
        "SELECT event, user_id FROM audit_events WHERE request_id = $1", refused.headers["x-request-id"]
    )
    assert [tuple(row) for row in rows] == [("login.failed", None)]


async def test_deletions_wait_for_no_change_of_administrators(
    client: AsyncClient, parts: Parts, admin: SignedIn, ada: Person
) -> None:
    grace = await register(client)
    session = await log_in(client, grace)
    async with parts.db.transaction() as tx:
        await queries.hold_admins(tx)

        theirs = await admin.ask("DELETE", f"/users/{ada.id}")
        own = await session.ask("DELETE", "/me", json={"password": grace.password})

    assert (theirs.status_code, own.status_code) == (204, 204)


async def test_who_becomes_an_administrator_while_he_is_deleted_is_tried_again(
    parts: Parts, admin: SignedIn, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = queries.hold

    async def late(tx: Transaction, user_id: int) -> UserEntry:
        monkeypatch.undo()
        await parts.db.execute("INSERT INTO user_roles (user_id, role) VALUES ($1, 'admin')", user_id)
        return await hold(tx, user_id)

    monkeypatch.setattr(queries, "hold", late)

    problem(await admin.ask("DELETE", f"/users/{ada.id}"), 503, "unavailable")
    assert (await admin.ask("DELETE", f"/users/{ada.id}")).status_code == 204


async def test_a_deletion_is_quick_however_much_there_is_to_blank(
    client: AsyncClient, parts: Parts, admin: SignedIn, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log_in(client, ada)
    monkeypatch.setattr(erasures, "BATCH", 10)
    await parts.db.execute(
        """
        INSERT INTO audit_events (event, user_id, actor_id, ip_address, user_agent, details)
        SELECT 'token.refreshed', $1, $1, '192.0.2.1', 'firefox', '{"a": 1}' FROM generate_series(1, 100)
        """,
        ada.id,
    )
    monkeypatch.setattr(erasure, "AT_ONCE", 0.0)

    assert (await admin.ask("DELETE", f"/users/{ada.id}")).status_code == 204

    traces = "SELECT FROM audit_events WHERE user_id = $1 AND (user_agent IS NOT NULL AND actor_id = $1)"
    assert len(await parts.db.fetch(traces, ada.id)) > 50
    monkeypatch.undo()
    assert (await admin.ask("POST", "/cleanup")).status_code == 200
    assert not await parts.db.fetch(traces, ada.id)
    assert not await parts.db.fetch("SELECT FROM erasures WHERE user_id = $1", ada.id)


async def test_a_password_that_changes_while_it_is_verified_deletes_nothing(
    client: AsyncClient, parts: Parts, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await log_in(client, ada)
    caller = await parts.authenticator.caller(session.access)
    verified = Confirmation.verified

    async def late(self: Confirmation, user_id: int, password_hash: str | None, password: str, by: Client) -> str:
        was = await verified(self, user_id, password_hash, password, by)
        again = await parts.passwords.hash(ada.password)  # as an upgrade would make it
        await parts.db.execute("UPDATE users SET password_hash = $2 WHERE id = $1", ada.id, again)
        return was

    monkeypatch.setattr(Confirmation, "verified", late)

    with pytest.raises(InvalidCredentials):
        await parts.accounts.delete(caller, ada.password, CLIENT)
    assert await parts.db.fetch("SELECT FROM users WHERE id = $1", ada.id)


async def test_links_of_who_is_gone_by_the_time_they_are_used_are_refused(
    client: AsyncClient, parts: Parts, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, link = await joined(client, postbox)
    hashed = parts.passwords.hash

    async def late(password: str) -> str:
        await parts.db.execute("DELETE FROM users WHERE id = $1", ada.id)
        return await hashed(password)

    tokens = OneTimeTokens(parts.settings.secret_key)
    await client.post("/password/forgot", json={"email": ada.email}, headers=from_ip())
    await postbox.to(ada.email or "", 2)
    row = await parts.db.fetchrow(
        "SELECT id FROM one_time_tokens WHERE user_id = $1 AND purpose = 'password.reset'", ada.id
    )
    assert row is not None
    monkeypatch.setattr(parts.passwords, "hash", late)

    with pytest.raises(InvalidOneTimeToken):
        await parts.recovery.reset(tokens.issue(Purpose.RESET_PASSWORD, row["id"]), new_password(), CLIENT)
    problem(await use(client, "/email/verify", link), 401, "invalid_token")


async def test_a_token_that_somebody_else_uses_meanwhile_is_refused(
    client: AsyncClient, parts: Parts, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, link = await joined(client, postbox)
    look = proofs.look

    async def late(db: Database, purpose: Purpose, token_id: UUID) -> Proof | None:
        found = await look(db, purpose, token_id)
        await parts.db.execute("DELETE FROM one_time_tokens WHERE id = $1", token_id)
        return found

    monkeypatch.setattr(proofs, "look", late)

    problem(await use(client, "/email/verify", link), 401, "invalid_token")


async def test_an_address_that_somebody_takes_this_very_moment_leaves_the_panic_link_good(
    client: AsyncClient, parts: Parts, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await proved(client, postbox)
    session = await log_in(client, ada)
    assert (await session.ask("PATCH", "/me", json={"email": None})).status_code == 200
    link = token(await postbox.to(ada.email or "", 2), "not-me")
    with monkeypatch.context() as patch:
        displaced = queries.displace

        async def late(tx: Transaction, email: str, user_id: int) -> list[int]:
            found = await displaced(tx, email, user_id)
            await parts.db.execute("INSERT INTO users (username, email) VALUES ($1, $2)", new_name(), email)
            return found

        async def nobody(*_: object) -> None:
            """As it was a moment before."""

        patch.setattr(queries, "displace", late)
        patch.setattr(queries, "id_by_email", nobody)
        problem(await use(client, "/password/not-me", link), 503, "unavailable")

    assert (await use(client, "/password/not-me", link)).status_code == 204


async def test_a_link_for_an_address_that_changes_meanwhile_is_not_sent(
    client: AsyncClient, parts: Parts, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, _ = await joined(client, postbox)
    caller = await parts.authenticator.caller((await log_in(client, ada)).access)

    async def late(*_: object) -> None:
        await parts.db.execute("UPDATE users SET email = NULL WHERE id = $1", ada.id)
        await parts.db.execute("DELETE FROM one_time_tokens WHERE user_id = $1", ada.id)

    monkeypatch.setattr(Quota, "hit", late)

    await parts.emails.resend(caller, CLIENT)

    assert not await parts.db.fetch("SELECT FROM one_time_tokens WHERE user_id = $1", ada.id)


async def test_an_errand_for_nobody_leads_to_nothing(parts: Parts) -> None:
    stranger = f"{new_name()}@example.org"

    async with parts.db.transaction() as tx:
        await parts.recovery.remind(tx, Errand(recipient=stranger, context=msgspec.structs.asdict(CLIENT)))

    assert not await parts.db.fetch("SELECT FROM mail_outbox WHERE recipient = $1", stranger)


async def test_an_intruder_is_shut_out_also_where_no_mail_can_be_sent_any_more(start: Start) -> None:
    with_mail = await start(smtp_url="smtp://127.0.0.1:9", mail_from="no-reply@example.test")
    ada = await register(with_mail.client, email=f"{new_name()}@example.org")
    await with_mail.parts.db.execute("UPDATE users SET email_verified = true")
    intruder = await log_in(with_mail.client, ada)
    change = {"current_password": ada.password, "new_password": new_password()}
    assert (await intruder.ask("POST", "/me/password", json=change)).status_code == 204
    row = await with_mail.parts.db.fetchrow("SELECT id FROM one_time_tokens WHERE purpose = 'not_me'")
    assert row is not None
    without = await start()

    link = OneTimeTokens(without.parts.settings.secret_key).issue(Purpose.NOT_ME, row["id"])
    assert (await use(without.client, "/password/not-me", link)).status_code == 204

    problem(await intruder.ask("GET", "/me"), 401, "session_revoked")


def test_no_secret_prints() -> None:
    secret = new_password()
    holders = (
        AccountDeletion(password=secret),
        MailedToken(token=secret),
        PasswordReset(token=secret, new_password=secret),
        Credentials(username="ada", password=secret),
    )

    assert [each for each in holders if secret in repr(each)] == []
    assert "ada@example.org" in repr(Forgotten(email="ada@example.org"))


async def test_a_passkey_that_lets_nobody_in_is_not_used_up(
    client: AsyncClient, admin: SignedIn, ada: Person, parts: Parts
) -> None:
    key = await added(await log_in(client, ada))
    query = "SELECT sign_count, last_used_at FROM passkeys WHERE user_id = $1"
    before = await parts.db.fetchrow(query, ada.id)
    assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": False})).status_code == 200

    shown = key.shown(await login_options(client))
    problem(await sign_in(client, shown), 401, "invalid_credentials")

    assert await parts.db.fetchrow(query, ada.id) == before
    assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": True})).status_code == 200
    assert (await sign_in(client, shown)).status_code == 200
