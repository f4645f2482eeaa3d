"""Revocation: a token ends its session, whichever token it is, and everybody sees it at once."""

import asyncio

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.clients.kit import Service, registered
from tests.identity.kit import events
from tests.kit import Person, SignedIn, from_ip, log_in, problem, register
from tests.replica import Start


@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "no_such_type"])
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_a_token_ends_its_session_on_every_replica(
    service: Service, session: SignedIn, replicas: list[AsyncClient], kind: str, hint: str
) -> None:
    for replica in replicas:
        assert (await session.ask("GET", "/me", at=replica)).status_code == 200

    await service.revoke(session.body[kind], at=replicas[0], token_type_hint=hint)

    answers = await asyncio.gather(*(session.ask("GET", path, at=replicas[1]) for path in ("/me", "/verify") * 5))
    for answer in answers:
        problem(answer, 401, "session_revoked")
    body = {"refresh_token": session.refresh_token}
    problem(await replicas[1].post("/refresh", json=body, headers=from_ip()), 401, "invalid_refresh_token")
    for token in (session.access, session.refresh_token):
        assert await service.introspect(token, at=replicas[1]) == {"active": False}


async def test_a_refresh_token_of_any_age_ends_its_session_and_is_no_replay(
    service: Service, session: SignedIn, parts: Parts
) -> None:
    third = await (await session.refreshed()).refreshed()

    await service.revoke(session.refresh_token)

    problem(await third.ask("GET", "/me"), 401, "session_revoked")
    assert "token.reuse_detected" not in [event for event, _ in await events(parts, session.user_id)]


async def test_other_sessions_go_on(service: Service, client: AsyncClient, ada: Person) -> None:
    first, second = await log_in(client, ada), await log_in(client, ada)

    await service.revoke(first.refresh_token)

    assert (await second.ask("GET", "/me")).status_code == 200


async def test_the_trail_says_which_client_it_was_and_once(service: Service, session: SignedIn, parts: Parts) -> None:
    await asyncio.gather(*(service.revoke(token) for token in (session.access, session.refresh_token) * 10))

    details = {"reason": "revoked_by_client", "client_id": service.id}
    assert (await events(parts, session.user_id))[-1] == ("session.revoked", details)
    rows = await parts.db.fetch(
        "SELECT actor_id, session_id FROM audit_events WHERE user_id = $1 AND event = 'session.revoked'",
        session.user_id,
    )
    assert [(row["actor_id"], str(row["session_id"])) for row in rows] == [(None, session.id)]
    ended = await parts.db.fetchrow("SELECT revoked_reason FROM sessions WHERE id = $1", session.id)
    assert ended is not None
    assert ended["revoked_reason"] == "revoked_by_client"


@pytest.mark.parametrize("token", ["x", "a.b.c", "gh1_forged", "x" * 100_000, "\u00e9"])
async def test_what_is_none_of_ours_has_nothing_to_end(service: Service, token: str) -> None:
    await service.revoke(token)


async def test_a_token_whose_session_is_over_or_gone_has_nothing_to_end(
    service: Service, client: AsyncClient, ada: Person, parts: Parts
) -> None:
    over, gone = await log_in(client, ada), await log_in(client, ada)
    assert (await over.ask("POST", "/logout")).status_code == 204
    await parts.db.execute("DELETE FROM sessions WHERE id = $1", gone.id)
    before = await events(parts, ada.id)

    for session in (over, gone):
        await service.revoke(session.access)
        await service.revoke(session.refresh_token)

    assert await events(parts, ada.id) == before


async def test_a_token_of_another_user_for_a_session_ends_nothing(start: Start) -> None:
    """Such a token is made by nobody but us; a session is ended only by one that names its user."""
    replica = await start()
    service = await registered(replica.client, replica.parts)
    ada, bob = [await log_in(replica.client, await register(replica.client)) for _ in range(2)]
    await replica.parts.db.execute("UPDATE sessions SET user_id = $2 WHERE id = $1", ada.id, bob.user_id)

    await service.revoke(ada.access)

    rows = await replica.parts.db.fetch("SELECT revoked_at FROM sessions")
    assert [row["revoked_at"] for row in rows] == [None, None]
