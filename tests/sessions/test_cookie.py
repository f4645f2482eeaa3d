"""The refresh token in a cookie: no script reads it, and no page but our own uses it."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from httpx import AsyncClient, Response

from app.settings import Settings
from tests.identity.factorkit import first_step, with_factor
from tests.identity.webauthnkit import added, login_options
from tests.kit import Person, SignedIn, from_ip, log_in, problem
from tests.replica import Replica, http, serving

OURS = {"Origin": "https://auth.example.test"}
NAME = "__Host-gatehouse-refresh"


@pytest.fixture
async def browser(shared: Replica) -> AsyncIterator[AsyncClient]:
    """Keeps cookies, as `client` does; but for one test."""
    async with http(shared.edge) as client:
        yield client


async def signed_in(browser: AsyncClient, person: Person) -> SignedIn:
    body = {"username": person.username, "password": person.password, "transport": "cookie"}
    answer = await browser.post("/login", json=body, headers=from_ip())
    return SignedIn(browser, in_cookie(answer))


def in_cookie(answer: Response) -> dict[str, object]:
    """A token response whose refresh token travels in the cookie alone."""
    assert answer.status_code == 200, answer.text
    (cookie,) = answer.headers.get_list("set-cookie")
    assert re.fullmatch(
        NAME + r"=gh1_[\w-]+; Max-Age=2[0-9]{6}; Path=/; HttpOnly; SameSite=Strict; Secure", cookie, re.ASCII
    )
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, object] = answer.json()
    assert "refresh_token" not in body
    assert cookie.partition("=")[2].partition(";")[0] not in answer.text
    return body


async def test_it_opens_goes_on_and_ends(browser: AsyncClient, ada: Person) -> None:
    session = await signed_in(browser, ada)

    refreshed = SignedIn(browser, in_cookie(await browser.post("/refresh", json={}, headers=OURS)))
    assert refreshed.id == session.id
    assert (await refreshed.ask("GET", "/me")).status_code == 200
    without_body = SignedIn(browser, in_cookie(await browser.post("/refresh", headers=OURS)))
    assert without_body.id == session.id
    gone = await browser.post("/logout", headers=OURS)

    assert gone.status_code == 204
    assert gone.headers["set-cookie"] == f"{NAME}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict; Secure"
    assert NAME not in browser.cookies
    problem(await refreshed.ask("GET", "/me"), 401, "session_revoked")


@pytest.mark.parametrize("path", ["/refresh", "/logout"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://auth.example.test.evil.example"},
        {"Origin": "http://auth.example.test"},
        {"Origin": "https://auth.example.test:8443"},
        OURS | {"Sec-Fetch-Site": "cross-site"},
        OURS | {"Sec-Fetch-Site": "none"},
        OURS | {"Sec-Fetch-Mode": "navigate"},
    ],
    ids=str,
)
async def test_only_a_page_of_ours_may_use_it(
    browser: AsyncClient, ada: Person, path: str, headers: dict[str, str]
) -> None:
    session = await signed_in(browser, ada)

    problem(await browser.post(path, json={}, headers=headers), 403, "forbidden")

    assert (await session.ask("GET", "/me")).status_code == 200
    assert (
        await browser.post("/refresh", json={}, headers=OURS | {"Sec-Fetch-Site": "same-origin"})
    ).status_code == 200


async def test_a_page_of_somebody_else_signs_nobody_in_by_it(browser: AsyncClient, ada: Person) -> None:
    body = {"username": ada.username, "password": ada.password, "transport": "cookie"}

    answer = await browser.post("/login", json=body, headers=from_ip() | {"Origin": "https://evil.example"})

    problem(answer, 403, "forbidden")
    assert "set-cookie" not in answer.headers


async def test_a_front_end_of_ours_uses_it(ada: Person, settings: Settings) -> None:
    app = {"Origin": "https://app.example.test", "Sec-Fetch-Site": "same-site"}
    async with serving(replace(settings, cors_origins=(app["Origin"],))) as ours:
        await signed_in(ours.client, ada)

        answer = await ours.client.post("/refresh", json={}, headers=app)

    in_cookie(answer)
    assert answer.headers["access-control-allow-origin"] == app["Origin"]
    assert answer.headers["access-control-allow-credentials"] == "true"


async def test_every_call_that_begins_a_session_takes_it(
    browser: AsyncClient, client: AsyncClient, ada: Person
) -> None:
    key = await added(await log_in(client, ada))
    _, authenticator = await with_factor(client, ada)
    second = {"mfa_token": await first_step(client, ada), "code": authenticator.code(), "transport": "cookie"}
    in_cookie(await browser.post("/login/mfa", json=second, headers=from_ip()))

    by_key = key.shown(await login_options(client)) | {"transport": "cookie"}

    in_cookie(await browser.post("/login/passkey", json=by_key, headers=from_ip()))


async def test_who_shows_once_more_who_he_is_keeps_it(browser: AsyncClient, ada: Person) -> None:
    session = await signed_in(browser, ada)

    stranger = {"Origin": "https://evil.example"}
    refused = await session.ask("POST", "/me/reauthenticate", json={"password": ada.password}, headers=stranger)
    problem(refused, 403, "forbidden")

    answer = await session.ask("POST", "/me/reauthenticate", json={"password": ada.password}, headers=OURS)

    in_cookie(answer)
    assert (await browser.post("/refresh", json={}, headers=OURS)).status_code == 200


async def test_the_token_of_a_session_of_the_cookie_is_in_no_body(
    browser: AsyncClient, client: AsyncClient, ada: Person
) -> None:
    """Also if it is asked for without the cookie, and after a refresh."""
    session = await signed_in(browser, ada)
    await browser.post("/refresh", json={}, headers=OURS)

    answer = await client.post("/me/reauthenticate", json={"password": ada.password}, headers=session.bearer)
    client.cookies.clear()  # other tests share it

    in_cookie(answer)


async def test_a_session_of_the_body_gets_its_token_there(
    browser: AsyncClient, client: AsyncClient, ada: Person
) -> None:
    """Also in a browser that has the cookie of another session."""
    await signed_in(browser, ada)
    kept = browser.cookies[NAME]
    other = SignedIn(browser, (await log_in(client, ada)).body)

    answer = await other.ask("POST", "/me/reauthenticate", json={"password": ada.password})

    assert "refresh_token" in answer.json()
    assert browser.cookies[NAME] == kept
    headers = OURS | {"Cookie": f"{NAME}=nothing", "Authorization": f"Bearer {other.access}"}
    again = await client.post("/me/reauthenticate", json={"password": ada.password}, headers=headers)
    assert "refresh_token" in again.json()


async def test_a_logout_by_the_body_leaves_the_session_of_the_cookie(
    browser: AsyncClient, client: AsyncClient, ada: Person
) -> None:
    session, other = await signed_in(browser, ada), await log_in(client, ada)

    answer = await browser.post("/logout", json={"refresh_token": other.refresh_token})

    assert answer.status_code == 204
    assert "set-cookie" not in answer.headers
    assert (await session.ask("GET", "/me")).status_code == 200


@pytest.mark.parametrize("path", ["/refresh", "/refresh/"])
async def test_null_is_no_body(browser: AsyncClient, ada: Person, path: str) -> None:
    await signed_in(browser, ada)

    in_cookie(await browser.post(path, content=b"null", headers=OURS | {"Content-Type": "application/json"}))


async def test_the_form_sets_none(browser: AsyncClient, ada: Person) -> None:
    form = {"grant_type": "password", "username": ada.username, "password": ada.password, "transport": "cookie"}

    answer = await browser.post("/login", data=form, headers=from_ip())

    assert "refresh_token" in answer.json()
    assert "set-cookie" not in answer.headers


async def test_one_in_the_body_comes_first(browser: AsyncClient, client: AsyncClient, ada: Person) -> None:
    await signed_in(browser, ada)
    other = await log_in(client, ada)

    answer = await browser.post("/refresh", json={"refresh_token": other.refresh_token})

    assert answer.json()["session_id"] == other.id
    assert "refresh_token" in answer.json()


@pytest.mark.parametrize("path", ["/refresh", "/logout"])
async def test_one_that_is_no_good_goes(browser: AsyncClient, path: str) -> None:
    answer = await browser.post(path, json={}, headers=OURS | {"Cookie": f"theme=dark; {NAME}=gh1_nothing"})

    problem(answer, 401, "invalid_refresh_token")
    assert answer.headers["set-cookie"].startswith(f"{NAME}=; Max-Age=0;")


async def test_an_old_one_ends_its_session_and_goes(browser: AsyncClient, ada: Person, shared: Replica) -> None:
    await signed_in(browser, ada)
    old = browser.cookies[NAME]
    session = SignedIn(browser, (await browser.post("/refresh", json={}, headers=OURS)).json())
    await shared.parts.db.execute("UPDATE sessions SET rotated_at = NULL WHERE id = $1", session.id)
    browser.cookies.clear()

    answer = await browser.post("/refresh", json={}, headers=OURS | {"Cookie": f"{NAME}={old}"})

    problem(answer, 401, "refresh_token_reused")
    assert answer.headers["set-cookie"].startswith(f"{NAME}=; Max-Age=0;")
    problem(await session.ask("GET", "/me"), 401, "session_revoked")


async def test_of_two_nobody_knows_which(browser: AsyncClient) -> None:
    headers = OURS | {"Cookie": f"{NAME}=gh1_one; {NAME}=gh1_two"}

    problem(await browser.post("/refresh", json={}, headers=headers), 422, "validation_failed")


async def test_on_a_laptop_it_needs_no_https(ada: Person, settings: Settings) -> None:
    local = replace(settings, environment="development", public_url="http://localhost:8000")
    async with serving(local) as laptop:
        body = {"username": ada.username, "password": ada.password, "transport": "cookie"}

        answer = await laptop.client.post("/login", json=body, headers=from_ip())

    assert answer.headers["set-cookie"].startswith("gatehouse-refresh=gh1_")
    assert "Secure" not in answer.headers["set-cookie"]
    assert "strict-transport-security" not in answer.headers
