"""Wrong passwords for an account shut its password's way in, and nothing else (docs/security.md, Guessing)."""

from httpx import AsyncClient

from tests.identity.mailkit import forgot, link_in, proved, reset
from tests.kit import from_ip, log_in, new_password, problem
from tests.mail.kit import Postbox


async def test_it_ends_no_session_and_shuts_neither_refresh_nor_recovery(client: AsyncClient, postbox: Postbox) -> None:
    ada = await proved(client, postbox)
    session = await log_in(client, ada)
    for _ in range(10):
        body = {"username": ada.username, "password": new_password()}
        problem(await client.post("/login", json=body, headers=from_ip()), 401, "invalid_credentials")
    body = {"username": ada.username, "password": ada.password}
    problem(await client.post("/login", json=body, headers=from_ip()), 429, "rate_limited")

    assert (await session.ask("GET", "/me")).status_code == 200
    refreshed = await session.refreshed()
    assert (await refreshed.ask("GET", "/me")).status_code == 200
    await forgot(client, ada.email)
    link = await link_in(postbox, str(ada.email), "reset-password")
    assert await reset(client, link) == 204
