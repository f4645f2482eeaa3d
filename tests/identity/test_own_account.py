"""What is held on oneself, and leaving."""

import asyncio
import base64
import struct
from datetime import datetime
from typing import Any

from httpx import AsyncClient

from app.parts import Parts
from tests.conftest import ADMIN, Twins
from tests.identity.mailkit import joined, proved
from tests.kit import Person, SignedIn, from_ip, log_in, new_password, problem, register
from tests.mail.kit import Postbox


async def activity(session: SignedIn, **params: Any) -> dict[str, Any]:
    answer = await session.ask("GET", "/me/activity", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


# ---- activity -----------------------------------------------------------------------------------------------------


async def test_activity_is_ones_own_newest_first_page_by_page(client: AsyncClient, ada: Person) -> None:
    session = await log_in(client, ada)
    await log_in(client, await register(client))
    for number in range(5):
        await session.ask("PATCH", "/me", json={"full_name": f"Ada {number}"})

    pages = [await activity(session, page_size=3)]
    while pages[-1]["next_cursor"]:
        pages.append(await activity(session, page_size=3, cursor=pages[-1]["next_cursor"]))

    items = [item for page in pages for item in page["items"]]
    assert [item["event"] for item in items] == ["user.updated"] * 5 + ["login.succeeded", "user.registered"]
    assert [item["id"] for item in items] == sorted((item["id"] for item in items), reverse=True)
    assert {item["user_id"] for item in items} == {ada.id}
    assert items[0]["details"] == {"changed": ["full_name"]}
    assert items[0]["session_id"] == session.id
    assert datetime.fromisoformat(items[0]["at"]).tzinfo
    assert [len(page["items"]) for page in pages] == [3, 3, 1]


async def test_a_cursor_that_is_none_is_invalid(session: SignedIn) -> None:
    for params in ({"cursor": "x"}, {"cursor": "AAAA"}, {"cursor": "!" * 64}, {"page_size": 0}, {"page_size": 201}):
        problem(await session.ask("GET", "/me/activity", params=params), 422, "validation_failed")


async def test_a_cursor_is_good_for_ones_own_activity_alone(client: AsyncClient, ada: Person) -> None:
    session, other = await log_in(client, ada), await log_in(client, await register(client))
    cursor = (await activity(session, page_size=1))["next_cursor"]
    of_an_id = base64.urlsafe_b64encode(struct.pack(">q", 2**40)).rstrip(b"=").decode()

    assert (await activity(session, cursor=cursor))["items"]
    for asker, text in ((other, cursor), (session, cursor[:-1]), (session, of_an_id)):
        answer = await asker.ask("GET", "/me/activity", params={"cursor": text})
        assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == "cursor"


async def test_where_an_administrator_sat_is_his_own_affair(
    client: AsyncClient, session: SignedIn, admin: SignedIn
) -> None:
    await admin.ask("PATCH", f"/users/{session.user_id}", json={"full_name": "Somebody"})

    item = (await activity(session))["items"][0]

    assert (item["event"], item["actor_id"]) == ("user.updated", admin.user_id)
    assert (item["ip_address"], item["user_agent"]) == (None, None)


# ---- export -------------------------------------------------------------------------------------------------------


async def test_the_export_holds_everything_and_no_secret(client: AsyncClient, postbox: Postbox, parts: Parts) -> None:
    ada, _ = await joined(client, postbox, full_name='Ada "☂" Lovelace')
    ended, session = await log_in(client, ada), await log_in(client, ada)
    await ended.ask("POST", "/logout")
    await session.ask("PUT", "/preferences", json={"theme": "dark", "own": {"a": None}})
    await parts.db.execute(
        "INSERT INTO audit_events (event, user_id) SELECT 'login.failed', $1 FROM generate_series(1, 2100)",
        ada.id,
    )

    answer = await session.ask("GET", "/me/export")

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"].startswith("attachment")
    held = answer.json()
    assert held["user"]["email"] == ada.email
    assert held["user"]["full_name"] == 'Ada "☂" Lovelace'
    assert {each["id"] for each in held["sessions"]} == {ended.id, session.id}
    assert held["preferences"] == {"theme": "dark", "own": {"a": None}}
    assert len(held["activity"]) == 2100 + 4
    for secret in ("argon2", "password_hash", ada.password, session.refresh_token):
        assert secret not in answer.text


# ---- leaving ------------------------------------------------------------------------------------------------------


async def test_who_leaves_takes_everything_along(
    client: AsyncClient, replicas: list[AsyncClient], postbox: Postbox, parts: Parts
) -> None:
    ada = await proved(client, postbox)
    first, session = await log_in(client, ada), await log_in(client, ada)
    await session.ask("PUT", "/preferences/theme", json="dark")

    answer = await session.ask("DELETE", "/me", json={"password": ada.password})

    assert (answer.status_code, answer.content) == (204, b"")
    for each, replica in zip((first, session), replicas, strict=True):
        problem(await each.ask("GET", "/me", at=replica), 401, "session_revoked")
    gone = await client.post("/login", json={"username": ada.username, "password": ada.password}, headers=from_ip())
    problem(gone, 401, "invalid_credentials")
    for table in ("sessions", "preferences", "one_time_tokens"):
        assert not await parts.db.fetch(f"SELECT FROM {table} WHERE user_id = $1", ada.id)
    events = await parts.db.fetch("SELECT * FROM audit_events WHERE user_id = $1 ORDER BY id", ada.id)
    assert events[-1]["event"] == "user.deleted"
    assert {(row["ip_address"], row["user_agent"], row["details"]) for row in events} == {(None, None, "{}")}
    assert (await postbox.to(ada.email or "", 2)).message["Subject"] == "Your account was deleted"
    assert (await register(client, username=ada.username)).id > ada.id


async def test_an_address_that_was_never_proved_is_not_told(
    client: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    ada, _ = await joined(client, postbox)

    await (await log_in(client, ada)).ask("DELETE", "/me", json={"password": ada.password})

    assert not await parts.db.fetch("SELECT FROM mail_outbox WHERE recipient = $1", ada.email)
    assert len(postbox.of(ada.email or "")) == 1


async def test_a_wrong_password_deletes_nothing_and_counts(client: AsyncClient, session: SignedIn) -> None:
    for _ in range(10):
        wrong = await session.ask("DELETE", "/me", json={"password": new_password()}, headers=from_ip())
        problem(wrong, 401, "invalid_credentials")

    problem(
        await session.ask("DELETE", "/me", json={"password": new_password()}, headers=from_ip()), 429, "rate_limited"
    )
    assert (await session.ask("GET", "/me")).status_code == 200


async def test_the_last_administrator_cannot_leave(twins: Twins) -> None:
    root = await log_in(twins.here, ADMIN)

    problem(await root.ask("DELETE", "/me", json={"password": ADMIN.password}), 409, "last_admin")

    assert (await root.ask("GET", "/me")).status_code == 200


async def test_of_two_administrators_who_leave_at_once_one_stays(twins: Twins) -> None:
    root = await log_in(twins.here, ADMIN)
    password = new_password()
    second = {"username": "second", "password": password, "is_admin": True, "must_change_password": False}
    made = await root.ask("POST", "/users", json=second)
    other = await log_in(twins.there, Person(made.json()["id"], "second", password))

    answers = await asyncio.gather(
        root.ask("DELETE", "/me", json={"password": ADMIN.password}),
        other.ask("DELETE", "/me", json={"password": password}),
    )

    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_of_fifty_who_leave_by_one_account_one_does(
    client: AsyncClient, replicas: list[AsyncClient], parts: Parts, ada: Person
) -> None:
    session = await log_in(client, ada)

    answers = await asyncio.gather(
        *(session.ask("DELETE", "/me", at=replicas[n % 2], json={"password": ada.password}) for n in range(50))
    )

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(204) == 1
    assert set(statuses) <= {204, 401, 404, 503}
    rows = await parts.db.fetch("SELECT FROM audit_events WHERE user_id = $1 AND event = 'user.deleted'", ada.id)
    assert len(rows) == 1
