"""Administration of sessions: who is signed in, and signing them out."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from app.parts import Parts
from app.uuid7 import uuid7
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem, register
from tests.sessions.kit import ids, listed, page

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
AGENTS = {
    "Desktop": [
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15",
        "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/141.0.0.0 Safari/537.36",
    ],
    "Mobile": [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile/15E148 Safari",
        "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/141.0.0.0 Mobile Safari",
    ],
    "Tablet": [
        "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 14; SM-X910) AppleWebKit/537.36 Chrome/141.0.0.0 Safari/537.36",
    ],
    "Bot": [
        "curl/8.11.0",
        "python-httpx/0.28.1",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    ],
    "Other": ["", "Gatehouse-App/1.0"],
}


# ---- what these tests do over and over ----------------------------------------------------------------------------


async def holder(client: AsyncClient, admin: SignedIn, parts: Parts, *permissions: str) -> SignedIn:
    """Somebody with these permissions and no more."""
    role, who = f"r{secrets.token_hex(4)}", Person(0, new_name(), new_password())
    async with parts.db.transaction() as tx:
        await tx.execute("INSERT INTO roles (name) VALUES ($1)", role)
        for permission in permissions:
            await tx.execute("INSERT INTO role_permissions (role, permission) VALUES ($1, $2)", role, permission)
        await tx.execute("UPDATE role_table SET number = number + 1")
        changed = await parts.entries.outbox.announce(tx, ["r:table"])
    await parts.entries.outbox.settle(changed)
    body = {"username": who.username, "password": who.password, "roles": [role], "must_change_password": False}
    assert (await admin.ask("POST", "/users", json=body)).status_code == 201
    return await log_in(client, who)


@pytest.fixture(scope="module")
async def row(client: AsyncClient, parts: Parts) -> Person:
    """A user with seven sessions, two and two of them alike in every order."""
    who = await register(client)
    for number in range(7):
        await parts.db.execute(
            """
            INSERT INTO sessions (id, user_id, created_at, last_accessed, expires_at, amr)
            VALUES ($1, $2, $3, $4, now() + make_interval(days => $5), '{pwd}')
            """,
            uuid7(),
            who.id,
            NOON + timedelta(microseconds=number // 2),
            NOON - timedelta(hours=number // 2),
            1 + number // 2,
        )
    return who


# ---- the list -----------------------------------------------------------------------------------------------------


async def test_a_session_is_listed_as_its_owner_sees_it(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    session = await log_in(client, ada, device_name="Ada's laptop")

    body = await page(admin, user_id=ada.id)

    (mine,) = (await session.ask("GET", "/me/sessions")).json()["items"]
    assert body["items"] == [{**mine, "current": False}]
    assert (body["total"], body["total_exact"], body["page"], body["page_size"]) == (1, True, 1, 50)
    assert body["next_cursor"] is None


async def test_the_session_that_asks_is_marked(admin: SignedIn) -> None:
    marked = [item["id"] for item in (await page(admin))["items"] if item["current"]]
    alone = (await admin.ask("GET", f"/sessions/{admin.user_id}")).json()["items"]

    assert marked == [admin.id]
    assert [item["id"] for item in alone if item["current"]] == [admin.id]


async def test_live_sessions_are_listed_unless_the_ended_are_asked_for(
    client: AsyncClient, admin: SignedIn, ada: Person, parts: Parts
) -> None:
    live, revoked, expired = [await log_in(client, ada) for _ in range(3)]
    await revoked.ask("POST", "/logout")
    await parts.db.execute("UPDATE sessions SET expires_at = now() WHERE id = $1", UUID(expired.id))

    assert await ids(admin, user_id=ada.id) == await ids(admin, user_id=ada.id, active="true") == [live.id]
    assert await ids(admin, user_id=ada.id, active="false", sort="created_at") == [revoked.id, expired.id]
    ended = (await page(admin, user_id=ada.id, active="false", sort="created_at"))["items"]
    assert [item["revoked_reason"] for item in ended] == ["logout", None]


async def test_sessions_are_found_by_address_and_network(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    four, six = await log_in(client, ada, ip="203.0.113.7"), await log_in(client, ada, ip="2001:db8:7::1")

    for ip, found in {
        "203.0.113.7": [four.id],
        "::ffff:203.0.113.7": [four.id],
        "203.0.113.0/24": [four.id],
        "203.0.113.99/24": [four.id],
        "203.0.113.8": [],
        "2001:0DB8:7:0::1": [six.id],
        "2001:db8:7::/48": [six.id],
        "0.0.0.0/0": [four.id],
    }.items():
        assert await ids(admin, user_id=ada.id, ip=ip) == found, ip


async def test_sessions_are_found_by_device(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    word = secrets.token_hex(5)
    answer = await client.post(
        "/login",
        json={"username": ada.username, "password": ada.password},
        headers={**from_ip(), "User-Agent": f"Browser-{word}/1.0"},
    )
    by_agent = SignedIn(client, answer.json())
    by_name = await log_in(client, ada, device_name=f"The {word}%")

    assert await ids(admin, device=word.upper(), sort="created_at") == [by_agent.id, by_name.id]
    assert await ids(admin, device=f"{word}%") == [by_name.id]
    assert await ids(admin, device=f"{word}_") == []
    assert await ids(admin, user_id=ada.id, device="") == [by_name.id, by_agent.id]


@pytest.mark.parametrize("sort", ["created_at", "last_accessed", "expires_at"])
async def test_pages_and_cursors_walk_through_the_same_list(admin: SignedIn, row: Person, sort: str) -> None:
    for prefix in ("", "-"):
        query = {"user_id": row.id, "sort": prefix + sort}
        whole = (await page(admin, **query))["items"]
        by_page: list[Any] = []
        by_cursor: list[Any] = []
        cursor: dict[str, object] = {}
        for number in range(1, 5):
            by_page += (await page(admin, **query, page=number, page_size=2))["items"]
            body = await page(admin, **query, page_size=2, **cursor)
            by_cursor += body["items"]
            cursor = {"cursor": body["next_cursor"]}

        assert len(whole) == 7
        assert by_page == by_cursor == whole
        values = [datetime.fromisoformat(item[sort]) for item in whole]
        assert values == sorted(values, reverse=prefix == "-")
        assert cursor == {"cursor": None}


async def test_cursors_of_users_are_not_for_sessions(admin: SignedIn) -> None:
    cursor = (await admin.ask("GET", "/users", params={"page_size": "1"})).json()["next_cursor"]

    answer = await listed(admin, page_size=1, cursor=cursor)

    assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_id", "9223372036854775808"),
        ("user_id", "0"),
        ("user_id", "ada"),
        ("ip", "somewhere"),
        ("ip", ""),
        ("ip", "10.0.0.0/33"),
        ("ip", "1" * 65),
        ("device", "a\nb"),
        ("device", "x" * 256),
        ("active", "maybe"),
        ("sort", "username"),
        ("page", "0"),
        ("page_size", "201"),
        ("cursor", "x"),
    ],
)
async def test_what_does_not_fit_is_named(admin: SignedIn, name: str, value: str) -> None:
    answer = await listed(admin, **{name: value})

    assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == name


async def test_page_numbers_reach_ten_thousand_rows(admin: SignedIn) -> None:
    problem(await listed(admin, page=51, page_size=200), 422, "use_cursor")


# ---- analytics ----------------------------------------------------------------------------------------------------


async def test_analytics_count_everybody_whatever_is_listed(
    client: AsyncClient, admin: SignedIn, parts: Parts, ada: Person
) -> None:
    before = (await page(admin))["analytics"]
    live, ended = await log_in(client, ada), await log_in(client, ada)
    await ended.ask("POST", "/logout")
    await parts.db.execute(
        """
        INSERT INTO sessions (id, user_id, created_at, expires_at, amr)
        VALUES ($1, $2, now() - interval '25 hours', now() + interval '1 day', '{pwd}')
        """,
        uuid7(),
        ada.id,
    )

    after = (await page(admin, user_id=2**62))["analytics"]

    assert after["active_sessions"] == before["active_sessions"] + 2
    assert after["active_users"] == before["active_users"] + 1
    assert after["created_last_24h"] == before["created_last_24h"] + 2
    assert sum(after["by_device"].values()) == after["active_sessions"]
    assert (await live.ask("GET", "/me")).status_code == 200


@pytest.mark.parametrize(("family", "agent"), [(family, agent) for family in AGENTS for agent in AGENTS[family]])
async def test_devices_are_counted_by_family(
    admin: SignedIn, parts: Parts, ada: Person, family: str, agent: str
) -> None:
    before = (await page(admin))["analytics"]["by_device"]
    await parts.db.execute(
        """
        INSERT INTO sessions (id, user_id, expires_at, amr, user_agent)
        VALUES ($1, $2, now() + interval '1 day', '{pwd}', $3)
        """,
        uuid7(),
        ada.id,
        agent,
    )

    after = (await page(admin))["analytics"]["by_device"]

    assert set(after) == set(AGENTS)
    assert after == {**before, family: before[family] + 1}


# ---- of one user --------------------------------------------------------------------------------------------------


async def test_the_sessions_of_a_user_are_listed(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    first, second = await log_in(client, ada), await log_in(client, ada)

    answer = await admin.ask("GET", f"/sessions/{ada.id}")

    assert [item["id"] for item in answer.json()["items"]] == [second.id, first.id]


async def test_who_is_not_signed_in_has_none_and_who_is_not_there_is_not_found(admin: SignedIn, ada: Person) -> None:
    assert (await admin.ask("GET", f"/sessions/{ada.id}")).json() == {"items": []}
    assert (await admin.ask("DELETE", f"/sessions/{ada.id}")).json() == {"revoked": 0}
    for method in ("GET", "DELETE"):
        problem(await admin.ask(method, f"/sessions/{2**62}"), 404, "not_found")
        problem(await admin.ask(method, f"/sessions/{2**63}"), 422, "validation_failed")
        problem(await admin.ask(method, "/sessions/ada"), 404, "not_found")


async def test_every_session_of_a_user_ends_on_every_replica(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person, parts: Parts
) -> None:
    sessions = [await log_in(client, ada) for _ in range(3)]
    for at in (client, *replicas):
        assert (await sessions[0].ask("GET", "/me", at=at)).status_code == 200

    answer = await admin.ask("DELETE", f"/sessions/{ada.id}")

    assert (answer.status_code, answer.json()) == (200, {"revoked": 3})
    for session in sessions:
        for at in (client, *replicas):
            problem(await session.ask("GET", "/me", at=at), 401, "session_revoked")
    rows = await parts.db.fetch(
        "SELECT actor_id, details FROM audit_events WHERE event = 'session.revoked' AND user_id = $1", ada.id
    )
    assert [(row["actor_id"], row["details"]) for row in rows] == 3 * [
        (admin.user_id, '{"reason": "revoked_by_admin"}')
    ]


async def test_one_session_of_a_user_ends_and_the_others_go_on(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person
) -> None:
    first, second = await log_in(client, ada), await log_in(client, ada)

    answer = await admin.ask("DELETE", f"/sessions/{ada.id}/{first.id}")

    assert answer.status_code == 204
    for at in (client, *replicas):
        problem(await first.ask("GET", "/me", at=at), 401, "session_revoked")
        assert (await second.ask("GET", "/me", at=at)).status_code == 200
    problem(await admin.ask("DELETE", f"/sessions/{ada.id}/{first.id}"), 404, "not_found")


async def test_a_session_of_somebody_else_is_not_found(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    session = await log_in(client, ada)

    for path in (f"/sessions/{admin.user_id}/{session.id}", f"/sessions/{ada.id}/{uuid7()}"):
        problem(await admin.ask("DELETE", path), 404, "not_found")
    problem(await admin.ask("DELETE", f"/sessions/{ada.id}/x"), 404, "not_found")
    assert (await session.ask("GET", "/me")).status_code == 200


async def test_of_fifty_who_end_the_sessions_each_session_counts_once(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person, parts: Parts
) -> None:
    for _ in range(3):
        await log_in(client, ada)

    answers = await asyncio.gather(
        *(admin.ask("DELETE", f"/sessions/{ada.id}", at=replicas[number % 2]) for number in range(50))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["revoked"] for answer in answers) == 3
    rows = await parts.db.fetch("SELECT FROM audit_events WHERE event = 'session.revoked' AND user_id = $1", ada.id)
    assert len(rows) == 3


# ---- who may ------------------------------------------------------------------------------------------------------


async def test_sessions_of_others_are_not_for_everybody(
    client: AsyncClient, admin: SignedIn, session: SignedIn, parts: Parts
) -> None:
    reader = await holder(client, admin, parts, "sessions:read")
    path = f"/sessions/{session.user_id}"

    for method, path_ in (("GET", "/sessions"), ("GET", path), ("DELETE", path), ("DELETE", f"{path}/{session.id}")):
        problem(await session.ask(method, path_), 403, "forbidden")
        problem(await client.request(method, path_), 401, "not_authenticated")
        assert (await reader.ask(method, path_)).status_code == (200 if path_ == "/sessions" else 403)


async def test_who_may_end_sessions_may_end_anybodys(client: AsyncClient, admin: SignedIn, parts: Parts) -> None:
    guard = await holder(client, admin, parts, "sessions:revoke")

    ended = await guard.ask("DELETE", f"/sessions/{admin.user_id}/{admin.id}")

    assert ended.status_code == 204
    problem(await admin.ask("GET", "/me"), 401, "session_revoked")
