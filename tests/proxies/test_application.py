"""An application behind a proxy is reached by whom Gatehouse knows, and by nobody else."""

import asyncio

import pytest
from httpx import AsyncClient, Response

from tests.kit import SignedIn, log_in, new_name, register
from tests.proxies.application import Application
from tests.proxies.running import APPLICATION, HAProxy, Proxy

WEBSOCKET = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
PERMISSION = "orders:read"  # what the shipped files ask for below /orders/
FORGED = {
    "X-Auth-User-Id": "1",
    "X-Auth-Username": "root",
    "X-Auth-Roles": "admin",
    "X-Auth-Session-Id": "0",
    "x_auth_user_id": "1",  # CGI and WSGI read it as the first
}


def headers_at(answer: Response) -> dict[str, list[str]]:
    """What reached the application."""
    assert answer.status_code == 200, answer.text
    found: dict[str, list[str]] = {}
    for name, value in answer.json()["headers"]:
        found.setdefault(name, []).append(value)
    return found


@pytest.fixture
async def session(client: AsyncClient) -> SignedIn:
    return await log_in(client, await register(client))


async def permitted(admin: SignedIn, person: SignedIn) -> None:
    """Let somebody read orders."""
    role = new_name("clerk")
    body = {"name": role, "description": "", "permissions": [PERMISSION]}
    assert (await admin.ask("POST", "/roles", json=body)).status_code == 201
    answer = await admin.ask("PUT", f"/users/{person.user_id}/roles", json={"roles": [role]})
    assert answer.status_code == 200, answer.text


async def test_who_is_known_gets_there_and_the_application_is_told_who_it_is(
    app: AsyncClient, session: SignedIn
) -> None:
    answer = await app.post("/things?a=1&require=users:write", content=b"x" * 100_000, headers=session.bearer)

    told = headers_at(answer)
    assert (answer.json()["method"], answer.json()["path"]) == ("POST", "/things?a=1&require=users:write")
    assert answer.json()["bytes"] == 100_000
    assert told["x-auth-user-id"] == [str(session.user_id)]
    assert told["x-auth-session-id"] == [session.id]
    assert told["x-auth-username"] == [session.body["user"]["username"]]
    assert told["host"] == [APPLICATION]
    assert told["x-forwarded-for"] == ["127.0.0.7"]


async def test_nobody_says_himself_who_he_is(app: AsyncClient, session: SignedIn) -> None:
    told = headers_at(await app.get("/", headers={**session.bearer, **FORGED, "X-Forwarded-For": "198.51.100.1"}))

    assert told["x-auth-user-id"] == [str(session.user_id)]
    assert told["x-auth-session-id"] == [session.id]
    assert told.get("x-auth-roles", []) in ([], [""])
    assert "x_auth_user_id" not in told
    assert told["x-forwarded-for"] == ["127.0.0.7"]


async def test_nobody_asks_for_a_tunnel(app: AsyncClient, session: SignedIn) -> None:
    """Inside HTTP/2 in the clear nobody would be asked about any more."""
    tunnel = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}

    told = headers_at(await app.get("/", headers={**session.bearer, **tunnel}))

    assert "upgrade" not in told


@pytest.mark.parametrize(
    "upgrades",
    [["websocket, h2c"], ["h2c, websocket"], ["websocket", "h2c"], ["h2c", "websocket"], ["websocket", "websocket"]],
)
async def test_nobody_asks_for_a_tunnel_beside_a_websocket(
    app: AsyncClient, session: SignedIn, upgrades: list[str]
) -> None:
    asked = {**WEBSOCKET, "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABk"}
    headers = [*session.bearer.items(), *asked.items(), *(("Upgrade", each) for each in upgrades)]

    answer = await app.get("/", headers=headers)

    assert answer.status_code == 400 or "upgrade" not in headers_at(answer)


async def test_a_websocket_is_one_where_the_proxy_has_them(app: AsyncClient, session: SignedIn, proxy: Proxy) -> None:
    asked = {**WEBSOCKET, "Connection": "keep-alive, Upgrade", "Upgrade": "websocket"}

    told = headers_at(await app.get("/", headers={**session.bearer, **asked}))

    assert told.get("upgrade") == (["websocket"] if isinstance(proxy, HAProxy) else None)


async def test_nobody_says_what_the_next_one_is_to_leave_out(app: AsyncClient, session: SignedIn) -> None:
    told = headers_at(await app.get("/", headers={**session.bearer, "Connection": "close, X-Auth-User-Id"}))

    assert told["x-auth-user-id"] == [str(session.user_id)]
    assert "x-auth-user-id" not in str(told.get("connection", "")).lower()


@pytest.mark.parametrize("name", ["X.Auth.Roles", "X~Auth~Roles", "X-Auth_Roles", "X_Auth.Roles"])
async def test_nobody_says_it_by_another_character(app: AsyncClient, session: SignedIn, name: str) -> None:
    told = headers_at(await app.get("/", headers={**session.bearer, name: "forged"}))

    assert ["forged"] not in told.values()


@pytest.mark.parametrize("authorization", [None, "Bearer x", "Bearer", "Basic cm9vdDpyb290"])
async def test_who_is_not_known_does_not_get_there(
    app: AsyncClient, behind: Application, authorization: str | None
) -> None:
    headers = {**FORGED, **({"Authorization": authorization} if authorization else {})}
    before = len(behind.reached)

    answer = await app.get("/things", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(behind.reached) == before


async def test_two_tokens_are_none(app: AsyncClient, session: SignedIn) -> None:
    headers = [("Authorization", f"Bearer {session.access}"), ("Authorization", "Bearer x")]

    assert (await app.get("/things", headers=headers)).status_code in {400, 503}


async def test_a_permission_may_be_asked_for(app: AsyncClient, admin: SignedIn, session: SignedIn) -> None:
    refused = await app.get("/orders/1", headers=session.bearer)
    await permitted(admin, session)
    served = await app.get("/orders/1", headers=session.bearer)
    for path in ("/orders", "/orders/"):
        assert (await app.get(path, headers=session.bearer)).json()["path"] == path

    assert refused.status_code == 403
    assert served.status_code == 200, served.text
    assert "clerk" in headers_at(served)["x-auth-roles"][0]


@pytest.mark.parametrize(
    "path",
    [
        "/orders",
        "/orders/",
        "/orders?x=1",
        "/%6frders",
        "/%6frders/1",
        "//orders/1",
        "/x/../orders/1",
        "/./orders/1",
        "/x%2f..%2forders/1",
        "/x/%2e%2e/orders/1",
        "/orders;x=1",
        "/orders;x=1/1",
        "/orders%3bx=1/1",
        "/;x=1/orders/1",
        "/x\\..\\orders/1",
        "/orders%5c1",
        "/%256frders/1",
        "/orders/%zz",
        "/orders/1%",
        "/orders%zz",
        "/orders%00/1",
        "/orders/../public",
        "/orders/x/../../public",
        "/orders//../public",
        "/orders/%2e%2e/public",
        "/orders/..%2fpublic",
        "/x#/..//orders",
        "/Orders/1",
        "/ORDERS",
        "/orders%3f",
        "/orders%23/1",
        "/orders%0a/1",
        "/orders%7f",
    ],
)
async def test_no_way_to_write_a_path_leads_round_a_permission(
    app: AsyncClient, session: SignedIn, behind: Application, path: str
) -> None:
    before = len(behind.reached)
    request = app.build_request("GET", "/", headers=session.bearer, extensions={"target": path.encode()})

    answer = await app.send(request)  # the path as it stands

    assert answer.status_code in {400, 403}, answer.text
    assert len(behind.reached) == before


@pytest.mark.parametrize("ends", ["/logout", "/logout/all", "an administrator"])
async def test_a_revocation_is_seen_by_the_next_request(
    client: AsyncClient, app: AsyncClient, admin: SignedIn, session: SignedIn, ends: str
) -> None:
    for _ in range(5):
        assert (await app.get("/things", headers=session.bearer)).status_code == 200

    if ends.startswith("/"):
        ended = await session.ask("POST", ends)
    else:
        ended = await admin.ask("DELETE", f"/sessions/{session.user_id}")
    assert ended.status_code in {200, 204}

    answers = await asyncio.gather(*(app.get("/things", headers=session.bearer) for _ in range(10)))
    assert {each.status_code for each in answers} == {401}


async def test_a_right_that_is_taken_is_gone_with_the_next_request(
    app: AsyncClient, admin: SignedIn, session: SignedIn
) -> None:
    await permitted(admin, session)
    assert (await app.get("/orders/1", headers=session.bearer)).status_code == 200

    await admin.ask("PUT", f"/users/{session.user_id}/roles", json={"roles": []})

    assert (await app.get("/orders/1", headers=session.bearer)).status_code == 403
    assert (await app.get("/things", headers=session.bearer)).status_code == 200


async def test_errors_of_the_application_are_its_own(app: AsyncClient, session: SignedIn) -> None:
    answer = await app.get("/broken", headers=session.bearer)

    assert answer.status_code == 500
    assert answer.json()["path"] == "/broken"
