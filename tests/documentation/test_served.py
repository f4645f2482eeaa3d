"""The document says what the service does: all of it, and nothing else."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from httpx import AsyncClient, Response

from app.documentation.samples import CLIENT_ID, CLIENT_SECRET
from app.request import MAX_BODY_BYTES
from tests.conftest import ADMIN
from tests.documentation.document import (
    DOCUMENT,
    FORM,
    JSON,
    NDJSON,
    OPERATIONS,
    PROBLEM,
    ROOT,
    SOMETIMES,
    Operation,
    every_operation,
    wrong,
)
from tests.kit import Person, SignedIn, log_in, problem, register


def example(operation_id: str, name: str, media_type: str = JSON) -> Any:
    """What the document says may be sent."""
    operation = next(operation for operation in OPERATIONS if operation.id == operation_id)
    return operation.bodies[media_type]["examples"][name]["value"]


@pytest.fixture(scope="package")
async def example_person(house: AsyncClient) -> Person:
    """The person of the examples: she registers as they say."""
    body = example("register", "full")
    answer = await house.post("/register", json=body)
    assert answer.status_code == 201, answer.text
    return Person(answer.json()["id"], body["username"], body["password"])


@pytest.fixture
async def visitor(house: AsyncClient, example_person: Person) -> SignedIn:
    """Somebody new with the password of the examples, and what they have kept."""
    session = await log_in(house, await register(house, password=example_person.password))
    kept = await session.ask("PUT", "/preferences", json=example("replace_preferences", "all"))
    assert kept.status_code == 200, kept.text
    return session


@pytest.fixture
async def root(house: AsyncClient) -> SignedIn:
    return await log_in(house, ADMIN)


def alive(value: Any, session: SignedIn) -> Any:
    """An example with what lives in the place of what it names: nobody could refresh with a printed token."""
    names = {
        example("refresh", "token")["refresh_token"]: session.refresh_token,
        example("introspect", "by_basic", FORM)["token"]: session.access,
        example_session()["id"]: session.id,
        example_session()["user_id"]: session.user_id,
    }
    if isinstance(value, dict):
        return {key: alive(item, session) for key, item in value.items()}
    if isinstance(value, list):
        return [alive(item, session) for item in value]
    return names.get(value, value)


def example_session() -> dict[str, Any]:
    sessions = DOCUMENT["paths"]["/api/auth/v2/me/sessions"]["get"]["responses"]["200"]
    session: dict[str, Any] = sessions["content"][JSON]["examples"]["sessions"]["value"]["items"][0]
    return session


def body_of(media_type: str, value: Any) -> dict[str, Any]:
    """A body, as httpx wants it."""
    if media_type == FORM:
        return {"data": value}
    return {"content": json.dumps(value), "headers": {"Content-Type": media_type}}


def requests(operation: Operation, session: SignedIn) -> Iterator[dict[str, Any]]:
    """Each example of a body, and each parameter beside the first one."""
    path = operation.path
    for parameter in operation.parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(alive(parameter["example"], session)))
    bodies = [
        body_of(media_type, alive(named["value"], session))
        for media_type, content in operation.bodies.items()
        for named in content["examples"].values()
    ]
    base = {"method": operation.method, "url": f"{ROOT}{path}"}
    for parameter in operation.parameters:
        if parameter["in"] == "query":
            params = {parameter["name"]: alive(parameter["example"], session)}
            yield {**base, **(bodies or [{}])[0], "params": params}
    if bodies and not operation.said["requestBody"]["required"]:
        bodies.insert(0, {})
    for body in bodies or [{}]:
        yield {**base, **body}


async def send(house: AsyncClient, request: dict[str, Any], bearer: str | None) -> Response:
    headers = dict(request.pop("headers", {}))
    if "token" in request.get("data", {}) and "client_id" not in request["data"]:
        request["auth"] = (CLIENT_ID, CLIENT_SECRET)
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    if "cursor" in request.get("params", {}):  # no printed one fits a list
        page = await house.get(request["url"], params={"page_size": 1}, headers=headers)
        request["params"] = {"cursor": page.json()["next_cursor"]}
    return await house.request(**request, headers=headers)


def check(operation: Operation, answer: Response) -> None:
    """The answer has to be one that the document knows."""
    said = operation.said["responses"].get(str(answer.status_code))
    assert said is not None, f"{answer.status_code} is not documented: {answer.text}"
    if "content" not in said:
        assert answer.content == b""
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    content = said["content"].get(media_type)
    assert content is not None, f"{media_type} is not documented for {answer.status_code}"
    values = [json.loads(line) for line in answer.text.splitlines()] if media_type == NDJSON else [answer.text]
    if media_type in (JSON, PROBLEM):
        values = [answer.json()]
    for value in values:
        assert wrong(value, content["schema"]) == []
    if media_type == PROBLEM:
        assert answer.json()["code"] in content["examples"]
    assert {name.lower() for name in said.get("headers", {})} <= {*answer.headers, *SOMETIMES}


# What an example cannot bring about: ada has registered already, nobody may look at all users, a visitor has no
# address and no second factor, and no printed token or code is good.
REFUSED = {
    "start_sign_in": 422,  # without its query
    "finish_sign_in": 404,
    "exchange_code": 401,
    "link_identity": 401,
    "unlink_identity": 404,
    "unlink_user_identity": 404,
    "sync_gpustack": 404,
    "read_analytics": 422,  # the hours since then are too many
    "register": 409,
    "verify": 403,
    "verify_by_post": 403,
    "send_reset": 409,
    "reset": 401,
    "not_me": 401,
    "verify_email": 401,
    "refresh": 422,  # without a body, for the cookie is not there
    "second_step": 401,
    "reauthenticate": 401,
    "add_passkey": 422,
    "passkey_login": 401,
    "rename_passkey": 404,
    "remove_passkey": 404,
    "confirm": 409,
    "remove_totp": 409,
    "new_codes": 409,
    "change_role": 404,
    "delete_role": 404,
    "set_user_roles": 422,  # there is no such role
}


@every_operation
async def test_its_examples_are_answered_as_it_says(
    operation: Operation, house: AsyncClient, visitor: SignedIn, root: SignedIn
) -> None:
    statuses = set()
    for request in requests(operation, visitor):
        bearer = (root if operation.is_guarded else visitor).access if operation.takes_token else None
        if {"metrics": []} in operation.said["security"]:
            bearer = "metrics-token-of-the-tests"
        answer = await send(house, request, bearer)
        check(operation, answer)
        statuses.add(answer.status_code)
        visitor = await log_in(house, await register(house, password=example("login", "email")["password"]))

    assert {status for status in statuses if status >= 400} <= {REFUSED.get(operation.id)}


def unreadable(operation: Operation) -> Iterator[tuple[bytes, str, int]]:
    """Bodies that cannot be read, and why."""
    if JSON in operation.bodies:
        yield b"{", JSON, 400
        yield json.dumps("x" * MAX_BODY_BYTES).encode(), JSON, 413
    if FORM in operation.bodies:
        yield b"%ff", FORM, 400
        yield b"x" * (MAX_BODY_BYTES + 1), FORM, 413
    if operation.bodies:
        yield b"{}", "text/plain", 415


@every_operation
async def test_it_refuses_as_it_says(
    operation: Operation, house: AsyncClient, visitor: SignedIn, root: SignedIn
) -> None:
    url = next(iter(requests(operation, visitor)))["url"]
    bearer = root if operation.is_guarded else visitor
    if operation.is_closed:
        answer = await house.request(operation.method, url)
        problem(answer, 401, "not_authenticated")
        check(operation, answer)
        answer = await house.request(operation.method, url, headers={"Authorization": "Bearer nonsense"})
        problem(answer, 401, "invalid_token")
        check(operation, answer)
    if operation.is_guarded:
        answer = await house.request(operation.method, url, headers=visitor.bearer)
        problem(answer, 403, "forbidden")
        check(operation, answer)
    for content, media_type, status in unreadable(operation):
        headers = {**bearer.bearer, "Content-Type": media_type}
        answer = await house.request(operation.method, url, content=content, headers=headers)
        assert answer.status_code == status, answer.text
        check(operation, answer)


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if "{" in each.path], ids=lambda each: each.id)
async def test_a_slash_that_hides_in_a_path_leads_nowhere_as_it_says(
    operation: Operation, house: AsyncClient, root: SignedIn
) -> None:
    """A proxy may have taken it for another path."""
    url = ROOT + re.sub(r"\{\w+\}", "a%5C", operation.path)

    answer = await house.request(operation.method, url, headers=root.bearer)

    problem(answer, 404, "not_found")
    check(operation, answer)


async def test_what_is_served_is_this_document(house: AsyncClient) -> None:
    answer = await house.get(f"{ROOT}/openapi.json")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    assert answer.json() == DOCUMENT
