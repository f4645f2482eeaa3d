"""Signing in."""

from httpx import AsyncClient

from tests.kit import Person, log_in, problem


async def test_the_first_walk_through_the_house(client: AsyncClient, ada: Person) -> None:
    session = await log_in(client, ada)
    me = await session.ask("GET", "/me")
    again = await session.refreshed()
    out = await again.ask("POST", "/logout")

    assert me.status_code == 200
    assert me.json()["username"] == ada.username
    assert again.id == session.id
    assert out.status_code == 204
    for token in (session, again):
        problem(await token.ask("GET", "/me"), 401, "session_revoked")
