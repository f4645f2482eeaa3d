"""Ending sessions by what they have in common: all that fit, once, on every replica, and nobody waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response

from app.database import Transaction
from app.parts import Parts
from app.sessions import ending, queries
from tests.kit import Person, SignedIn, from_ip, log_in, new_ip, new_name, problem, register


async def end(admin: SignedIn, *, at: AsyncClient | None = None, dry_run: bool | None = None, **words: Any) -> Response:
    body = {"filter": words} if dry_run is None else {"filter": words, "dry_run": dry_run}
    return await admin.ask("POST", "/sessions/revoke", json=body, at=at)


async def counts(admin: SignedIn, **words: Any) -> tuple[int, int]:
    """How many matched, and how many were revoked."""
    answer = await end(admin, **words)
    assert answer.status_code == 200, answer.text
    return answer.json()["matched"], answer.json()["revoked"]


async def many(parts: Parts, who: Person, ip: str, number: int) -> None:
    await parts.db.execute(
        """
        INSERT INTO sessions (id, user_id, expires_at, amr, ip_address)
        SELECT gen_random_uuid(), $1, now() + interval '1 day', '{pwd}', $2 FROM generate_series(1, $3)
        """,
        who.id,
        ip,
        number,
    )


@asynccontextmanager
async def held(parts: Parts, session: SignedIn) -> AsyncIterator[Transaction]:
    """Somebody else is changing this session."""
    async with parts.db.transaction() as tx:
        await tx.execute("SELECT FROM sessions WHERE id = $1 FOR UPDATE", UUID(session.id))
        yield tx


async def alive(session: SignedIn, at: AsyncClient | None = None) -> bool:
    answer = await session.ask("GET", "/me", at=at)
    if answer.status_code != 200:
        problem(answer, 401, "session_revoked")
    return answer.status_code == 200


# ---- what is meant ------------------------------------------------------------------------------------------------


async def test_what_fits_ends_on_every_replica_and_the_rest_goes_on(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person, parts: Parts
) -> None:
    network = "198.18.7"  # of nobody else
    grace = await register(client)
    inside = [await log_in(client, who, ip=f"{network}.{n}") for n, who in enumerate((ada, grace, ada), 7)]
    outside = await log_in(client, ada)
    for at in (client, *replicas):
        assert all([await alive(session, at) for session in (*inside, outside)])
    listed = (await admin.ask("GET", "/sessions", params={"ip": f"{network}.0/28"})).json()["items"]

    assert await counts(admin, ip=f"{network}.0/28", dry_run=True) == (3, 0)
    assert all([await alive(session) for session in inside])
    assert await counts(admin, ip=f"{network}.0/28") == (3, 3)

    assert {item["id"] for item in listed} == {session.id for session in inside}
    for at in (client, *replicas):
        assert not any([await alive(session, at) for session in inside])
        assert await alive(outside, at)
    rows = await parts.db.fetch(
        "SELECT user_id, actor_id, details FROM audit_events WHERE event = 'session.revoked' AND session_id = ANY($1)",
        [UUID(session.id) for session in inside],
    )
    assert sorted(row["user_id"] for row in rows) == sorted([ada.id, ada.id, grace.id])
    assert {(row["actor_id"], row["details"]) for row in rows} == {(admin.user_id, '{"reason": "revoked_by_admin"}')}
    assert await counts(admin, ip=f"{network}.0/28") == (0, 0)


async def test_every_word_narrows(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    ip = new_ip()
    session = await log_in(client, ada, ip=ip, device_name="Ada's laptop")
    now = datetime.now(UTC)
    fits: dict[str, Any] = {
        "user_id": ada.id,
        "ip": ip,
        "device": "laptop",
        "factor": "pwd",
        "created_before": (now + timedelta(hours=1)).isoformat(),
        "created_after": (now - timedelta(hours=1)).isoformat(),
    }
    others: dict[str, Any] = {
        "user_id": 2**62,
        "ip": "192.0.2.1",
        "device": "iPhone",
        "factor": "pop",
        "created_before": fits["created_after"],
        "created_after": fits["created_before"],
    }

    for word, value in others.items():
        assert await counts(admin, **fits | {word: value}) == (0, 0), word
    assert await alive(session)
    assert await counts(admin, **fits) == (1, 1)
    assert not await alive(session)


async def test_nobody_ends_all_sessions_by_saying_nothing(admin: SignedIn) -> None:
    for filter_ in ({}, {"user_id": None, "ip": None}):
        answer = await admin.ask("POST", "/sessions/revoke", json={"filter": filter_})

        assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == "filter"
    problem(await admin.ask("POST", "/sessions/revoke", json={}), 422, "validation_failed")
    assert await alive(admin)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"user_id": 0}, "filter.user_id"),
        ({"user_id": "1"}, "filter.user_id"),
        ({"ip": "somewhere"}, "ip"),
        ({"device": "a\nb"}, "device"),
        ({"device": ""}, "device"),
        ({"created_before": "yesterday"}, "filter.created_before"),
        ({"created_before": "0001-01-01T00:00:00+14:00"}, "created_before"),
        ({"factor": "hwk"}, "filter.factor"),
        ({"colour": "red"}, "filter"),
        ({"active": False}, "filter"),
    ],
)
async def test_what_does_not_fit_is_named(admin: SignedIn, words: dict[str, Any], field: str) -> None:
    answer = await end(admin, **words)

    assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == field


async def test_ones_own_session_ends_if_it_fits(client: AsyncClient, parts: Parts, admin: SignedIn) -> None:
    assert await counts(admin, user_id=admin.user_id, created_after=_began(admin)) == (1, 1)

    assert not await alive(admin)


async def test_who_ends_his_own_ends_the_others_all_the_same(
    client: AsyncClient, admin: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "BATCH", 1)
    ip = new_ip()
    who = await register(client)
    await admin.ask("PATCH", f"/users/{who.id}", json={"is_admin": True})
    grace = await log_in(client, who, ip=ip)
    await many(parts, who, ip, 5)

    assert await counts(grace, ip=ip) == (6, 6)

    assert not await alive(grace)


async def test_who_loses_the_right_meanwhile_ends_nothing_more(
    client: AsyncClient, admin: SignedIn, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "BATCH", 2)
    role, ip, who = new_name("guard"), new_ip(), await register(client)
    await many(parts, ada, ip, 5)
    await admin.ask("POST", "/roles", json={"name": role, "permissions": ["sessions:revoke"]})
    await admin.ask("PUT", f"/users/{who.id}/roles", json={"roles": [role]})
    guard = await log_in(client, who)
    revoke_held = queries.revoke_held

    async def take_away(*args: Any) -> list[UUID]:
        assert (await admin.ask("PUT", f"/users/{who.id}/roles", json={"roles": []})).status_code == 200
        return await revoke_held(*args)

    monkeypatch.setattr(queries, "revoke_held", take_away)
    refused = problem(await end(guard, ip=ip), 403, "forbidden")
    monkeypatch.setattr(queries, "revoke_held", revoke_held)

    assert refused["detail"].endswith("2 sessions have ended.")
    assert await counts(admin, ip=ip) == (3, 3)


def _began(session: SignedIn) -> str:
    """The time in the session's id (RFC 9562 §5.7), to a millisecond; the row was written after that."""
    milliseconds = UUID(session.id).int >> 80
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


# ---- how many -----------------------------------------------------------------------------------------------------


async def test_more_than_a_batch_end_together(
    admin: SignedIn, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "BATCH", 10)
    ip = new_ip()
    await many(parts, ada, ip, 35)

    assert await counts(admin, ip=ip) == (35, 35)


async def test_a_call_ends_no_more_than_it_has_time_for_and_says_so(
    admin: SignedIn, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ip = new_ip()
    await many(parts, ada, ip, 5)
    monkeypatch.setattr(ending, "WORK_SECONDS", 0.0)
    monkeypatch.setattr(ending, "BATCH", 2)

    assert [await counts(admin, ip=ip) for _ in range(4)] == [(5, 2), (3, 2), (1, 1), (0, 0)]


async def test_of_fifty_who_end_the_same_each_session_counts_once(
    replicas: list[AsyncClient], admin: SignedIn, ada: Person, parts: Parts
) -> None:
    ip = new_ip()
    await many(parts, ada, ip, 200)

    answers = await asyncio.gather(*(end(admin, ip=ip, at=replicas[number % 2]) for number in range(50)))

    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert sum(answer.json()["revoked"] for answer in answers) == 200
    assert all(answer.json()["revoked"] <= answer.json()["matched"] <= 200 for answer in answers)
    rows = await parts.db.fetch("SELECT FROM audit_events WHERE event = 'session.revoked' AND user_id = $1", ada.id)
    assert len(rows) == 200


# ---- beside others ------------------------------------------------------------------------------------------------


async def test_a_session_that_somebody_changes_is_waited_for_and_the_others_are_not_held_up(
    client: AsyncClient, admin: SignedIn, ada: Person, parts: Parts
) -> None:
    ip = new_ip()
    busy, free = await log_in(client, ada, ip=ip), await log_in(client, ada, ip=ip)
    async with held(parts, busy):
        call = asyncio.create_task(end(admin, ip=ip))
        async with asyncio.timeout(10):
            while await alive(free):
                await asyncio.sleep(0.01)
        assert await alive(busy)

    answer = await call

    assert answer.json() == {"matched": 2, "revoked": 2}
    assert not await alive(busy)


async def test_one_that_is_held_for_long_is_left_and_said_to_be(
    client: AsyncClient, admin: SignedIn, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PATIENCE", 0.05)
    ip = new_ip()
    busy = await log_in(client, ada, ip=ip)
    async with held(parts, busy):
        assert await counts(admin, ip=ip) == (1, 0)

    assert await counts(admin, ip=ip) == (1, 1)


async def test_what_somebody_else_has_just_ended_is_vouched_for(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person, parts: Parts
) -> None:
    """It has been ended, and may still be in the cache: the answer does not come before it is gone."""
    ip = new_ip()
    session = await log_in(client, ada, ip=ip)
    assert await alive(session, replicas[0])
    async with parts.db.transaction() as tx:
        await tx.execute("UPDATE sessions SET revoked_at = now() WHERE id = $1", UUID(session.id))
        change = await parts.entries.outbox.announce(tx, [f"s:{session.id}"])

    assert await counts(admin, ip=ip) == (0, 0)

    left = await parts.db.fetch("SELECT FROM cache_outbox WHERE id = ANY($1)", list(change.rows))
    assert left == []
    assert not await alive(session, replicas[0])


async def test_who_ends_refreshes_and_signs_in_at_once_never_block_each_other(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person, parts: Parts
) -> None:
    """Each of them takes several sessions of the same users; a dead-lock would be a 503."""
    ip = new_ip()
    grace = await register(client)
    sessions = [await log_in(client, who, ip=ip) for who in (ada, grace) for _ in range(5)]
    for who in (ada, grace):
        await many(parts, who, ip, 100)

    def calls(number: int) -> list[Any]:
        at = replicas[number % 2]
        session = sessions[number]
        return [
            end(admin, ip=ip, at=at),
            end(admin, factor="pwd", user_id=ada.id, at=at),
            admin.ask("DELETE", f"/sessions/{(ada, grace)[number % 2].id}", at=at),
            at.post("/refresh", json={"refresh_token": session.refresh_token}, headers={"X-Forwarded-For": ip}),
            at.post("/login", json={"username": ada.username, "password": ada.password}, headers=from_ip()),
        ]

    answers = await asyncio.gather(*(call for number in range(10) for call in calls(number)))

    assert {answer.status_code for answer in answers} <= {200, 401}, [answer.text for answer in answers]
    rows = await parts.db.fetch(
        """
        SELECT count(*) AS events FROM audit_events
        WHERE event = 'session.revoked' AND user_id = ANY($1) GROUP BY session_id
        """,
        [ada.id, grace.id],
    )
    assert {row["events"] for row in rows} == {1}
