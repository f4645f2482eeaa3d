"""A client shows who it is, in one way of two; who does not learns nothing and ends nothing."""

import base64
from urllib.parse import quote

import pytest
from httpx import AsyncClient, Response

from app.parts import Parts
from app.request import MAX_BODY_BYTES
from tests.clients.kit import FORM, Service, registered
from tests.kit import SignedIn, problem

PATHS = ("/introspect", "/revoke")
both = pytest.mark.parametrize("path", PATHS)


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{client_id}:{secret}'.encode()).decode()}"}


def refused(answer: Response) -> None:
    body = problem(answer, 401, "invalid_client")
    assert body["error"] == "invalid_client"
    assert answer.headers["www-authenticate"] == 'Basic realm="gatehouse"'


async def alive(session: SignedIn) -> None:
    assert (await session.ask("GET", "/me")).status_code == 200


@both
async def test_by_basic_or_in_the_form(service: Service, session: SignedIn, path: str) -> None:
    form = {"token": session.access}

    by_basic = await service.at.post(path, data=form, headers=basic(service.id, service.secret))
    in_the_form = await service.at.post(path, data={**form, **service.form})

    assert (by_basic.status_code, in_the_form.status_code) == (200, 200)


@both
async def test_what_is_sent_by_basic_is_urlencoded(service: Service, session: SignedIn, path: str) -> None:
    encoded = ["".join(f"%{byte:02x}" for byte in each.encode()) for each in (service.id, service.secret)]

    answer = await service.at.post(path, data={"token": session.access}, headers=basic(encoded[0], encoded[1]))

    assert answer.status_code == 200


@both
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Basic",
        "Basic ",
        "Basic !",
        "Basic eA",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + base64.b64encode(b"%ff:%ff").decode(),
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic \u00e9".encode("latin-1").decode("latin-1"),
        "Digest x",
    ],
    ids=repr,
)
async def test_who_shows_nothing_that_can_be_read_is_refused(
    service: Service, session: SignedIn, path: str, authorization: str | None
) -> None:
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    refused(await service.at.post(path, data={"token": session.access}, headers=headers))

    await alive(session)


@both
async def test_another_secret_and_nobodys_id_are_refused_alike(
    service: Service, session: SignedIn, client: AsyncClient, parts: Parts, path: str
) -> None:
    other = await registered(client, parts)
    wrong = [
        (service.id, other.secret),
        (service.id, service.secret[:-1]),
        (service.id, service.secret + "\0"),
        (service.id, ""),
        ("", service.secret),
        (service.id.lower(), service.secret),
        ("ghc_AAAAAAAAAAAAAAAAAAAAAA", service.secret),
        ("x" * 10_000, "y" * 10_000),
    ]

    bodies = set()
    for client_id, secret in wrong:
        for answer in (
            await client.post(path, data={"token": session.access}, headers=basic(client_id, quote(secret))),
            await client.post(path, data={"token": session.access, "client_id": client_id, "client_secret": secret})
            if "\0" not in secret
            else None,
        ):
            if answer is not None:
                refused(answer)
                bodies.add(answer.text.replace(answer.headers["x-request-id"], ""))

    assert len(bodies) == 1
    await alive(session)


@both
async def test_an_access_token_is_no_clients_credential(session: SignedIn, admin: SignedIn, path: str) -> None:
    for each in (session, admin):
        refused(await each.ask("POST", path, data={"token": session.access}))

    await alive(session)


@both
async def test_a_bearer_token_beside_the_form_is_not_looked_at(service: Service, session: SignedIn, path: str) -> None:
    answer = await service.at.post(
        path, data={"token": "x", **service.form}, headers={"Authorization": "Bearer nonsense"}
    )

    assert answer.status_code == 200


@both
async def test_never_in_both_ways(service: Service, session: SignedIn, path: str) -> None:
    headers = basic(service.id, service.secret)
    for fields in (service.form, {"client_secret": service.secret}, {"client_id": "ghc_another"}):
        answer = await service.at.post(path, data={"token": session.access, **fields}, headers=headers)
        assert problem(answer, 400, "malformed_request")["error"] == "invalid_request"
    await alive(session)

    named = {"token": session.access, "client_id": service.id}  # which many libraries do, and which is no secret
    assert (await service.at.post(path, data=named, headers=headers)).status_code == 200


@both
async def test_a_missing_token_is_told_to_a_client_alone(service: Service, path: str) -> None:
    for form in ({}, {"token": ""}, {"token_type_hint": "access_token"}):
        refused(await service.at.post(path, data=form, headers=FORM))
        answer = await service.at.post(path, data=form, headers=FORM, auth=service.basic)
        body = problem(answer, 422, "validation_failed")
        assert (body["error"], body["errors"]) == ("invalid_request", [{"field": "token", "message": "is required"}])


@both
@pytest.mark.parametrize(
    ("content", "media_type", "status", "code"),
    [
        (b'{"token": "x"}', "application/json", 415, "unsupported_media_type"),
        (b"token=x", "text/plain", 415, "unsupported_media_type"),
        (b"token=x", "", 415, "unsupported_media_type"),
        (b"token=x&token=y", FORM["Content-Type"], 400, "malformed_request"),
        (b"token=%ff", FORM["Content-Type"], 400, "malformed_request"),
        (b"token=%00", FORM["Content-Type"], 400, "malformed_request"),
        (b"token=" + b"x" * MAX_BODY_BYTES, FORM["Content-Type"], 413, "payload_too_large"),
    ],
    ids=["JSON", "text", "no type", "a field twice", "no UTF-8", "NUL", "too large"],
)
async def test_it_is_a_form_or_refused_in_words_that_oauth_clients_know(
    service: Service, path: str, content: bytes, media_type: str, status: int, code: str
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}

    answer = await service.at.post(path, content=content, headers=headers, auth=service.basic)

    assert problem(answer, status, code)["error"] == "invalid_request"


@both
async def test_fields_that_nobody_knows_have_no_meaning(service: Service, session: SignedIn, path: str) -> None:
    answer = await service.ask(path, session.access, resource="https://api.example.test", scope="x")

    assert answer.status_code == 200


async def test_a_hundred_wrong_secrets_write_nothing_and_shut_nobody_out(
    service: Service, session: SignedIn, parts: Parts
) -> None:
    """A limit would let anybody behind the same address shut a service out; 256 bits need none."""
    count = "SELECT count(*) AS n FROM audit_events WHERE event IN ('login.failed', 'rate_limited')"
    before = await parts.db.fetchrow(count)

    for _ in range(100):
        refused(await service.at.post("/introspect", data={"token": "x"}, headers=basic(service.id, "ghcs_wrong")))

    assert await parts.db.fetchrow(count) == before
    assert (await service.introspect(session.access))["active"] is True
