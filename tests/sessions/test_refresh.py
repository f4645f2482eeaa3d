"""Refresh tokens: one live successor, whoever asks and however often; an old one ends the session."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from httpx import AsyncClient, Response

from app.parts import Parts
from app.sessions import queries, service
from app.sessions.service import Rotated
from app.settings import Settings
from tests.kit import Person, SignedIn, blocked_on_a_lock, from_ip, log_in, problem
from tests.replica import serving


async def refresh(client: AsyncClient, token: str) -> Response:
    return await client.post("/refresh", json={"refresh_token": token}, headers=from_ip())


async def make_old(parts: Parts, session: SignedIn, seconds: int = 11) -> None:
    """As if the last refresh had been so long ago."""
    age = timedelta(seconds=seconds)
    await parts.db.execute("UPDATE sessions SET rotated_at = rotated_at - $2::interval WHERE id = $1", session.id, age)


async def test_a_refresh_goes_on_with_the_session(session: SignedIn) -> None:
    again = await session.refreshed()

    assert again.id == session.id
    assert again.refresh_token != session.refresh_token
    assert again.access != session.access
    assert again.body["refresh_expires_in"] <= session.body["refresh_expires_in"]
    for each in (session, again):  # an access token lives until its time is up, also past a refresh
        assert (await each.ask("GET", "/me")).status_code == 200


async def test_fifty_at_once_get_one_and_the_same_successor(replicas: list[AsyncClient], session: SignedIn) -> None:
    answers = await asyncio.gather(*(refresh(replicas[n % 2], session.refresh_token) for n in range(50)))

    assert [answer.status_code for answer in answers] == [200] * 50
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    successor = SignedIn(session.client, answers[0].json())
    assert (await successor.refreshed(replicas[1])).id == session.id


async def test_refreshes_of_a_moment_are_one_statement(
    client: AsyncClient, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await log_in(client, ada) for _ in range(10)]
    statements = []
    rotate = parts.sessions._rotate

    async def counted(rotations: Sequence[queries.Rotation]) -> Rotated:
        statements.append(len(rotations))
        return await rotate(rotations)

    monkeypatch.setattr(parts.sessions._rotations, "_load", counted)
    await asyncio.gather(*(session.refreshed() for session in sessions))

    assert sum(statements) == 10
    assert len(statements) <= 2  # the first may have left alone


async def test_a_session_that_somebody_else_is_changing_holds_up_nobody(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    held, free = await log_in(client, ada), await log_in(client, ada)
    async with parts.db.transaction() as tx:
        await tx.execute("UPDATE sessions SET device_name = 'renamed' WHERE id = $1", held.id)
        waiting = [asyncio.create_task(refresh(client, held.refresh_token)) for _ in range(30)]  # thrice the pool
        answers = await asyncio.gather(*(refresh(client, free.refresh_token) for _ in range(3)))

    answers += await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answers] == [200] * 33
    assert len({answer.json()["refresh_token"] for answer in answers}) == 2


async def test_who_waits_too_long_for_a_session_is_told_to_come_again(
    session: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PATIENCE", 0.0)
    async with parts.db.transaction() as tx:
        await tx.execute("UPDATE sessions SET device_name = 'renamed' WHERE id = $1", session.id)
        problem(await refresh(session.client, session.refresh_token), 503, "unavailable")

    assert (await session.refreshed()).id == session.id


async def test_tokens_of_two_generations_at_once_do_not_get_mixed_up(session: SignedIn, parts: Parts) -> None:
    successor = await session.refreshed()

    old, new = await asyncio.gather(
        *(refresh(session.client, each.refresh_token) for each in (session, successor)), return_exceptions=False
    )

    assert new.status_code == 200
    if old.status_code == 200:  # it came first, and was given the same successor again
        assert old.json()["refresh_token"] == successor.refresh_token
    else:
        problem(old, 401, "refresh_token_reused")


async def test_c3_a_refresh_writes_no_entry(session: SignedIn, parts: Parts, replicas: list[AsyncClient]) -> None:
    """What it wrote could come after a revocation's deletion, and bring the session back."""

    async def entry() -> bytes | None:
        async with parts.entries.links.use() as link:
            kept: bytes | None = await link.client.get(link.key(f"s:{session.id}"))
            return kept

    await session.ask("GET", "/me")
    before = await entry()
    assert before is not None

    again = await session.refreshed()

    assert await entry() == before
    assert (await again.ask("GET", "/me")).status_code == 200  # the entry is behind this token: a miss, filled anew
    assert await entry() not in (None, before)
    assert (await again.ask("POST", "/logout", at=replicas[0])).status_code == 204
    problem(await again.ask("GET", "/me"), 401, "session_revoked")


async def test_a_lost_answer_is_given_again(session: SignedIn, parts: Parts) -> None:
    first = await session.refreshed()
    second = await session.refreshed()

    assert second.refresh_token == first.refresh_token
    rows = await parts.db.fetch(
        "SELECT FROM audit_events WHERE session_id = $1::uuid AND event = 'token.refreshed'", session.id
    )
    assert len(rows) == 1


async def test_after_the_grace_the_old_token_ends_the_session(
    session: SignedIn, client: AsyncClient, replicas: list[AsyncClient], parts: Parts
) -> None:
    successor = await session.refreshed()
    assert (await successor.ask("GET", "/me", at=replicas[0])).status_code == 200
    await make_old(parts, session)

    problem(await refresh(client, session.refresh_token), 401, "refresh_token_reused")

    for replica in (client, *replicas):
        problem(await successor.ask("GET", "/me", at=replica), 401, "session_revoked")
        problem(await refresh(replica, successor.refresh_token), 401, "invalid_refresh_token")
    row = await parts.db.fetchrow(
        "SELECT event FROM audit_events WHERE session_id = $1::uuid ORDER BY id DESC LIMIT 1", session.id
    )
    assert row is not None
    assert row["event"] == "token.reuse_detected"


async def test_once_the_successor_was_used_the_old_token_ends_the_session_at_once(session: SignedIn) -> None:
    successor = await session.refreshed()
    last = await successor.refreshed()

    problem(await refresh(session.client, session.refresh_token), 401, "refresh_token_reused")
    problem(await last.ask("GET", "/me"), 401, "session_revoked")


async def test_fifty_replays_end_a_session_once(replicas: list[AsyncClient], session: SignedIn, parts: Parts) -> None:
    await (await session.refreshed()).refreshed()

    answers = await asyncio.gather(*(refresh(replicas[n % 2], session.refresh_token) for n in range(50)))

    assert {answer.json()["code"] for answer in answers} <= {"refresh_token_reused", "invalid_refresh_token"}
    rows = await parts.db.fetch(
        "SELECT FROM audit_events WHERE session_id = $1::uuid AND event = 'token.reuse_detected'", session.id
    )
    assert len(rows) == 1


async def test_of_replays_at_the_same_process_one_ends_the_session(session: SignedIn, parts: Parts) -> None:
    await (await session.refreshed()).refreshed()

    answers = await asyncio.gather(*(refresh(session.client, session.refresh_token) for _ in range(5)))

    assert {answer.status_code for answer in answers} == {401}
    rows = await parts.db.fetch(
        "SELECT FROM audit_events WHERE session_id = $1::uuid AND event = 'token.reuse_detected'", session.id
    )
    assert len(rows) == 1


async def test_a_refresh_never_extends_the_absolute_life(session: SignedIn, parts: Parts) -> None:
    await parts.db.execute(
        "UPDATE sessions SET expires_at = clock_timestamp() + interval '100 seconds' WHERE id = $1", session.id
    )

    again = await session.refreshed()

    assert 90 < again.body["refresh_expires_in"] <= 100
    assert 90 < again.body["expires_in"] <= 100
    await parts.db.execute("UPDATE sessions SET expires_at = clock_timestamp() WHERE id = $1", session.id)
    problem(await refresh(session.client, again.refresh_token), 401, "invalid_refresh_token")


async def test_a_token_that_is_not_ours_is_unknown(session: SignedIn) -> None:
    token = session.refresh_token
    raw = bytearray(base64.urlsafe_b64decode(token.removeprefix("gh1_") + "=="))
    raw[-1] ^= 1
    forged = "gh1_" + base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
    raw[0] ^= 1
    other_key = "gh1_" + base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()

    bad = [forged, other_key, token[4:], token + "=", token[:-1], "gh1_", "gh1_" + "ä" * 75, "x" * 43, token.swapcase()]
    for each in (*bad, "gh1_" + "!" * 75):
        problem(await refresh(session.client, each), 401, "invalid_refresh_token")
    assert (await refresh(session.client, token)).status_code == 200


async def test_a_generation_that_no_row_can_have_is_unknown(session: SignedIn, parts: Parts) -> None:
    forged = parts.sessions._refresh.issue(UUID(session.id), 1 << 31)

    problem(await refresh(session.client, forged), 401, "invalid_refresh_token")


async def test_a_token_of_the_future_is_unknown_and_ends_nothing(session: SignedIn, parts: Parts) -> None:
    ahead = (await session.refreshed()).refresh_token
    await parts.db.execute("UPDATE sessions SET generation = 0, rotated_at = NULL WHERE id = $1", session.id)

    problem(await refresh(session.client, ahead), 401, "invalid_refresh_token")
    assert (await refresh(session.client, session.refresh_token)).status_code == 200


async def test_a_token_outlives_a_change_of_the_secret_key_by_its_predecessor(
    settings: Settings, client: AsyncClient, ada: Person
) -> None:
    session = await log_in(client, ada)
    changed = replace(
        settings, secret_key="Another-Secret-Key-9f8e7d6c5b4a3210", secret_key_previous=settings.secret_key
    )
    async with serving(changed) as newer:
        again = await session.refreshed(newer.client)
        refused = await refresh(client, again.refresh_token)
    async with serving(settings):  # seals the signing key again under the key that the other tests use
        pass

    problem(refused, 401, "invalid_refresh_token")


async def test_a_refresh_shows_the_user_as_he_is_now(session: SignedIn) -> None:
    await session.ask("PATCH", "/me", json={"full_name": "Grace Hopper"})

    again = await session.refreshed()

    assert again.body["user"]["full_name"] == "Grace Hopper"


async def test_no_token_is_kept_anywhere(session: SignedIn, parts: Parts) -> None:
    again = await session.refreshed()
    await again.ask("GET", "/me")

    async with parts.entries.links.use() as link:
        values = await link.client.mget(await link.client.keys("gatehouse:*:[su]:*"))
    rows = await parts.db.fetch("SELECT s::text AS row FROM sessions s WHERE id = $1", session.id)
    for token in (session.refresh_token, again.refresh_token, again.access):
        assert not [value for value in values if token.encode() in (value or b"")]
        assert token not in rows[0]["row"]


async def test_a_poisoned_entry_of_the_user_does_not_spoil_a_refresh(session: SignedIn, parts: Parts) -> None:
    async with parts.entries.links.use() as link:
        await link.client.set(link.key(f"u:{session.user_id}"), b"=garbage", ex=60)

    again = await session.refreshed()

    assert again.body["user"]["id"] == session.user_id


async def test_a_user_who_is_no_longer_active_gets_no_more_tokens(session: SignedIn, parts: Parts) -> None:
    """Belt and braces: a deactivation ends the sessions as well."""
    await parts.db.execute("UPDATE users SET is_active = false WHERE id = $1", session.user_id)
    await parts.entries.forget(f"u:{session.user_id}")

    problem(await refresh(session.client, session.refresh_token), 401, "invalid_refresh_token")


async def test_a_replay_that_finds_the_session_just_ended_ends_nothing(session: SignedIn, parts: Parts) -> None:
    await (await session.refreshed()).refreshed()
    async with parts.db.transaction() as tx:
        await tx.execute("UPDATE sessions SET revoked_at = clock_timestamp() WHERE id = $1", session.id)
        waiting = asyncio.create_task(refresh(session.client, session.refresh_token))
        await blocked_on_a_lock(parts)

    problem(await waiting, 401, "refresh_token_reused")
    rows = await parts.db.fetch(
        "SELECT FROM audit_events WHERE session_id = $1::uuid AND event = 'token.reuse_detected'", session.id
    )
    assert rows == []
