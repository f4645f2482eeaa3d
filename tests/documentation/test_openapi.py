"""The document says what the service does: all of it, and nothing else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from httpx import AsyncClient, Response
from litestar import post
from litestar.params import FromPath, JSONBody
from litestar.routes import ASGIRoute, HTTPRoute
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import validate

from app.documentation.document import document_of
from app.documentation.samples import CLIENT_ID, CLIENT_SECRET
from app.main import create_app
from app.request import MAX_BODY_BYTES
from app.sessions.caller import requires
from tests.conftest import ADMIN
from tests.kit import Person, SignedIn, log_in, problem, register
from tests.replica import settings_for

ROOT = "https://auth.example.test"
PROBLEM = "application/problem+json"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

APP = create_app(settings_for("postgresql://localhost/none", "valkey://localhost"))
DOCUMENT: dict[str, Any] = json.loads(document_of(APP))
SOMETIMES = {"www-authenticate", "retry-after", "set-cookie"}  # headers
UNDOCUMENTED = {"/openapi.json", "/docs", "/docs/{name}"}


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    said: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.said["operationId"])

    @property
    def bodies(self) -> dict[str, Any]:
        content: dict[str, Any] = self.said.get("requestBody", {}).get("content", {})
        return content

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return list(self.said.get("parameters", []))

    @property
    def is_guarded(self) -> bool:
        return "Needs the permission" in self.said["description"]

    @property
    def takes_token(self) -> bool:
        return {"bearer": []} in self.said["security"]

    @property
    def is_closed(self) -> bool:
        return self.takes_token and {} not in self.said["security"]


OPERATIONS = [
    Operation(method.upper(), path, said)
    for path, operations in DOCUMENT["paths"].items()
    for method, said in operations.items()
]
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)


def resolved(item: dict[str, Any]) -> dict[str, Any]:
    """What a reference stands for."""
    for part in item["$ref"].removeprefix("#/").split("/") if "$ref" in item else ():
        item = DOCUMENT[part] if part == "components" else item[part]
    return item


def wrong(value: object, schema: dict[str, Any]) -> list[str]:
    """What does not fit."""
    validator = OAS31Validator({**schema, "components": DOCUMENT["components"]}, format_checker=oas31_format_checker)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def contents(operation: Operation) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Everything that has a body: its status (`request` for a request), its type, its description."""
    for media_type, content in operation.bodies.items():
        yield "request", media_type, content
    for status, response in operation.said["responses"].items():
        for media_type, content in response.get("content", {}).items():
            yield status, media_type, content


# ---- the document by itself ------------------------------------------------------------------------------------------


def test_the_document_is_a_valid_one() -> None:
    validate(DOCUMENT)

    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["info"]["title"] == "Gatehouse"
    assert DOCUMENT["servers"] == [{"url": "/"}]


def test_every_route_is_in_it() -> None:
    served = set()
    for route in APP.routes:
        if isinstance(route, HTTPRoute):
            served |= {(method, route.path_format) for method in route.methods if method != "OPTIONS"}
        elif isinstance(route, ASGIRoute):
            served |= {("GET", route.path_format), ("POST", route.path_format)}

    documented = {(operation.method, operation.path) for operation in OPERATIONS}

    assert documented == {(method, path) for method, path in served if path not in UNDOCUMENTED}


def test_every_operation_has_an_id_of_its_own() -> None:
    ids = [operation.id for operation in OPERATIONS]

    assert len(set(ids)) == len(ids)


def test_every_tag_is_described() -> None:
    described = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}

    assert described == {tag for operation in OPERATIONS for tag in operation.said["tags"]}


def test_names_of_schemas_are_short() -> None:
    assert [name for name in DOCUMENT["components"]["schemas"] if not name.isalnum()] == []


def test_what_takes_no_unknown_fields_says_so() -> None:
    assert DOCUMENT["components"]["schemas"]["Registration"]["additionalProperties"] is False
    assert DOCUMENT["components"]["schemas"]["Credentials"]["additionalProperties"] is False


@every_operation
def test_it_is_described(operation: Operation) -> None:
    assert operation.said["summary"]
    assert operation.said["description"]
    assert operation.said["tags"]
    assert all(parameter["description"] for parameter in operation.parameters if parameter["in"] == "query")
    for requirement in operation.said["security"]:
        assert requirement.keys() <= DOCUMENT["components"]["securitySchemes"].keys()


@every_operation
def test_its_examples_fit_their_schemas(operation: Operation) -> None:
    for status, media_type, content in contents(operation):
        assert content["examples"], f"{status} {media_type} has no example"
        for name, example in content["examples"].items():
            assert wrong(resolved(example)["value"], content["schema"]) == [], f"{status} {name}"
    for parameter in operation.parameters:
        assert wrong(parameter["example"], parameter["schema"]) == [], parameter["name"]


@every_operation
def test_its_errors_are_problems_named_by_their_codes(operation: Operation) -> None:
    for status, response in operation.said["responses"].items():
        errors = response.get("content", {}).get(PROBLEM)
        assert errors or status < "400" or JSON in response["content"]
        for code, example in errors["examples"].items() if errors else ():
            value = resolved(example)["value"]
            assert value["code"] == code
            assert str(value["status"]) == status or status == "default"
            assert f"`{code}`" in response["description"] or status == "default"


def test_a_body_that_may_be_one_of_two_says_which() -> None:
    body = DOCUMENT["paths"]["/api/auth/v2/me/reauthenticate"]["post"]["requestBody"]["content"][JSON]

    assert [part["$ref"].rpartition("/")[2] for part in body["schema"]["anyOf"]] == [
        "Reauthentication",
        "PasskeyAssertion",
    ]


def test_a_body_that_may_be_missing_may_be_null() -> None:
    for path in ("logout", "login/passkey/options"):
        body = DOCUMENT["paths"][f"/api/auth/v2/{path}"]["post"]["requestBody"]

        assert not body["required"]
        assert wrong(None, body["content"][JSON]["schema"]) == []
        assert wrong([], body["content"][JSON]["schema"]) != []


def test_a_wait_and_a_challenge_are_documented_as_headers() -> None:
    responses = DOCUMENT["paths"]["/api/auth/v2/login"]["post"]["responses"]

    assert "Retry-After" in responses["429"]["headers"]
    assert "Retry-After" in responses["503"]["headers"]
    assert "WWW-Authenticate" in DOCUMENT["paths"]["/api/auth/v2/me"]["get"]["responses"]["401"]["headers"]


SETTING = {"exchange_code", "login", "second_step", "passkey_login", "reauthenticate", "refresh", "logout"}
READING = {"refresh", "logout"}


@every_operation
def test_the_refresh_token_in_a_cookie_is_documented_where_it_comes_and_goes(operation: Operation) -> None:
    named = {
        status
        for status, response in operation.said["responses"].items()
        if "`__Host-gatehouse-refresh`" in response.get("headers", {}).get("Set-Cookie", {}).get("description", "")
    }
    done = {status for status in operation.said["responses"] if status < "300"}

    assert named == (done if operation.id in SETTING else set()) | ({"401"} if operation.id in READING else set())
    assert ({"cookie": []} in operation.said["security"]) is (operation.id in READING)
    assert {} in operation.said["security"] or operation.id not in READING


@pytest.mark.parametrize(
    ("public_url", "name"),
    [("https://auth.example.test", "__Host-gatehouse-refresh"), ("http://localhost:8000", "gatehouse-refresh")],
)
def test_the_cookie_is_called_what_it_is_called_there(public_url: str, name: str) -> None:
    settings = settings_for("postgresql://localhost/none", "valkey://localhost")
    app = create_app(replace(settings, environment="development", public_url=public_url))

    document = json.loads(document_of(app))

    validate(document)
    scheme = document["components"]["securitySchemes"]["cookie"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "cookie", name)


class Courier:
    """A type that has no schema."""


@post("/orders/{order_id:int}/courier", tags=["orders"], guards=[requires("orders:write")])
async def send_courier(order_id: FromPath[int], data: JSONBody[dict[str, int]]) -> Courier:
    """Calls a courier."""
    return Courier()


def test_the_routes_of_an_application_around_it_are_documented_as_well() -> None:
    app = create_app(settings_for("postgresql://localhost/none", "valkey://localhost"), [send_courier])

    document = json.loads(document_of(app))

    validate(document)
    operation = document["paths"]["/orders/{order_id}/courier"]["post"]
    assert operation["description"] == "Calls a courier.\n\nNeeds the permission `orders:write`."
    assert operation["security"] == [{"bearer": []}, {"password": []}]
    assert operation["parameters"][0]["schema"] == {"type": "integer"}
    assert operation["responses"]["201"]["content"][JSON]["schema"] == {}
    assert {"400", "401", "403", "404", "413", "415", "422", "503"} <= operation["responses"].keys()


def test_without_the_password_grant_nothing_offers_it() -> None:
    settings = replace(settings_for("postgresql://localhost/none", "valkey://localhost"), password_grant=False)

    document = json.loads(document_of(create_app(settings)))

    assert document["components"]["securitySchemes"].keys() == {"bearer", "cookie", "client", "metrics"}
    assert document["paths"]["/api/auth/v2/me"]["get"]["security"] == [{"bearer": []}]


# ---- and the service -------------------------------------------------------------------------------------------------


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
    assert wrong(answer.json() if media_type in (JSON, PROBLEM) else answer.text, content["schema"]) == []
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
    "sync_gpustack": 404,
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


async def test_what_is_served_is_this_document(house: AsyncClient) -> None:
    answer = await house.get(f"{ROOT}/openapi.json")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    assert answer.json() == DOCUMENT
