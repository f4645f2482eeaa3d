"""Sessions end: at once, everywhere, however they end."""

import asyncio
import uuid

from httpx import AsyncClient

from app.parts import Parts
from tests.kit import Person, SignedIn, from_ip, log_in, problem, register


async def dead_everywhere(session: SignedIn, *places: AsyncClient) -> None:
    for place in places:
        problem(await session.ask("GET", "/me", at=place), 401, "session_revoked")
        problem(await session.ask("GET", "/verify", at=place), 401, "session_revoked")
        body = {"refresh_token": session.refresh_token}
        problem(await place.post("/refresh", json=body, headers=from_ip()), 401, "invalid_refresh_token")


async def test_a_logout_is_seen_by_the_next_request_everywhere(
    session: SignedIn, client: AsyncClient, replicas: list[AsyncClient]
) -> None:
    for place in (client, *replicas):
        assert (await session.ask("GET", "/me", at=place)).status_code == 200

    answer = await session.ask("POST", "/logout", at=replicas[0])

    assert answer.status_code == 204
    await dead_everywhere(session, client, *replicas)


async def test_no_request_that_began_after_a_logout_is_served(
    client: AsyncClient, ada: Person, replicas: list[AsyncClient]
) -> None:
    """A hundred sessions ended on one replica, each tried at the other before, during and after."""
    sessions = [await log_in(client, ada) for _ in range(20)]

    async def hunt(session: SignedIn) -> int:
        ended = asyncio.create_task(session.ask("POST", "/logout", at=replicas[0]))
        while not ended.done():
            await session.ask("GET", "/me", at=replicas[1])
        assert ended.result().status_code == 204
        answers = await asyncio.gather(*(session.ask("GET", "/me", at=replicas[1]) for _ in range(20)))
        return sum(answer.status_code == 200 for answer in answers)

    assert sum(await asyncio.gather(*(hunt(session) for session in sessions))) == 0


async def test_logging_out_needs_a_token(client: AsyncClient) -> None:
    problem(await client.post("/logout"), 401, "not_authenticated")
    problem(await client.post("/logout", json={}), 401, "not_authenticated")
    problem(await client.post("/logout", headers={"Authorization": "Bearer a.b.c"}), 401, "invalid_token")


async def test_a_refresh_token_logs_out_where_the_access_token_has_expired(
    session: SignedIn, client: AsyncClient
) -> None:
    again = await session.refreshed()

    body = {"refresh_token": session.refresh_token}  # of an older generation: its session is known all the same
    answer = await client.post("/logout", json=body, headers={"Authorization": "Bearer has.expired.long-ago"})

    assert answer.status_code == 204
    await dead_everywhere(again, client)
    problem(await client.post("/logout", json={"refresh_token": "gh1_forged"}), 401, "invalid_refresh_token")


async def test_the_refresh_token_of_a_session_that_is_gone_is_unknown(
    session: SignedIn, client: AsyncClient, parts: Parts
) -> None:
    await parts.db.execute("DELETE FROM sessions WHERE id = $1", session.id)

    body = {"refresh_token": session.refresh_token}
    problem(await client.post("/logout", json=body), 401, "invalid_refresh_token")
    problem(await client.post("/refresh", json=body, headers=from_ip()), 401, "invalid_refresh_token")


async def test_who_has_signed_out_may_say_so_again(client: AsyncClient, session: SignedIn) -> None:
    body = {"refresh_token": session.refresh_token}

    answers = [(await client.post("/logout", json=body)).status_code for _ in range(2)]

    assert answers == [204, 204]


async def test_two_logouts_at_once_are_one(session: SignedIn, replicas: list[AsyncClient], parts: Parts) -> None:
    answers = await asyncio.gather(*(session.ask("POST", "/logout", at=replicas[n % 2]) for n in range(50)))

    assert {answer.status_code for answer in answers} <= {204, 401}
    rows = await parts.db.fetch("SELECT FROM audit_events WHERE session_id = $1::uuid AND event = 'logout'", session.id)
    assert len(rows) == 1


async def test_all_sessions_end_or_all_others(client: AsyncClient, ada: Person, replicas: list[AsyncClient]) -> None:
    mine, other, third = [await log_in(client, ada) for _ in range(3)]

    assert (await mine.ask("POST", "/logout/all?except_current=true")).status_code == 204
    await dead_everywhere(other, client, *replicas)
    await dead_everywhere(third, client, *replicas)
    assert (await mine.ask("GET", "/me", at=replicas[0])).status_code == 200

    assert (await mine.ask("POST", "/logout/all")).status_code == 204
    await dead_everywhere(mine, client, *replicas)


async def test_my_sessions_are_listed_and_mine_alone(client: AsyncClient, ada: Person, parts: Parts) -> None:
    first = await log_in(client, ada, device_name="phone", ip="192.0.2.7")
    second = await log_in(client, ada)
    await log_in(client, await register(client))

    items = (await second.ask("GET", "/me/sessions")).json()["items"]

    assert [item["id"] for item in items] == [second.id, first.id]
    assert [item["current"] for item in items] == [True, False]
    assert items[1] == {
        "id": first.id,
        "user_id": ada.id,
        "username": ada.username,
        "created_at": items[1]["created_at"],
        "last_accessed": items[1]["last_accessed"],
        "expires_at": items[1]["expires_at"],
        "ip_address": "192.0.2.7",
        "user_agent": "python-httpx/0.28.1",
        "device_name": "phone",
        "amr": ["pwd"],
        "current": False,
        "revoked_at": None,
        "revoked_reason": None,
    }
    assert items[1]["created_at"].endswith("Z")


async def test_one_of_my_sessions_is_ended(client: AsyncClient, ada: Person, replicas: list[AsyncClient]) -> None:
    mine, lost = await log_in(client, ada), await log_in(client, ada)

    assert (await mine.ask("DELETE", f"/me/sessions/{lost.id}")).status_code == 204

    await dead_everywhere(lost, client, *replicas)
    assert (await mine.ask("GET", "/me")).status_code == 200
    problem(await mine.ask("DELETE", f"/me/sessions/{lost.id}"), 404, "not_found")


async def test_somebody_elses_session_is_as_unknown_as_any(client: AsyncClient, session: SignedIn) -> None:
    other = await log_in(client, await register(client))

    answers = [await session.ask("DELETE", f"/me/sessions/{each}") for each in (other.id, uuid.uuid4())]

    bodies = [problem(answer, 404, "not_found") for answer in answers]
    assert {**bodies[0], "request_id": ""} == {**bodies[1], "request_id": ""}
    assert (await other.ask("GET", "/me")).status_code == 200


async def test_when_a_session_was_last_seen_is_written_in_a_while(session: SignedIn, parts: Parts) -> None:
    query = "SELECT last_accessed FROM sessions WHERE id = $1"
    before = await parts.db.fetchrow(query, session.id)
    await session.ask("GET", "/me")

    await parts.last_seen.write()

    after = await parts.db.fetchrow(query, session.id)
    assert before is not None
    assert after is not None
    assert after["last_accessed"] > before["last_accessed"]


async def test_a_user_with_very_many_sessions_can_be_signed_out(session: SignedIn, parts: Parts) -> None:
    """Whoever signs in often enough must not be able to make his own end impossible, nor hold up anybody with it."""
    await parts.db.execute(
        """
        INSERT INTO sessions (id, user_id, expires_at, amr)
        SELECT gen_random_uuid(), $1, now() + interval '1 day', '{pwd}' FROM generate_series(1, 20000)
        """,
        session.user_id,
    )

    async with asyncio.timeout(30):  # quadratic work took minutes
        assert (await session.ask("POST", "/logout/all")).status_code == 204

    live = "SELECT FROM sessions WHERE user_id = $1 AND revoked_at IS NULL"
    assert await parts.db.fetch(live, session.user_id) == []
