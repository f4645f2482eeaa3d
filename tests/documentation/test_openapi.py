"""The document by itself: whole, valid, and nothing in it that is not so."""

import json
from dataclasses import replace

import pytest
from litestar import post
from litestar.params import FromPath, JSONBody
from litestar.routes import ASGIRoute, HTTPRoute
from openapi_spec_validator import validate

from app.documentation.document import document_of
from app.main import create_app
from app.sessions.caller import requires
from tests.documentation.document import (
    APP,
    DOCUMENT,
    JSON,
    OPERATIONS,
    PROBLEM,
    UNDOCUMENTED,
    Operation,
    contents,
    every_operation,
    resolved,
    wrong,
)
from tests.replica import settings_for


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

    assert documented == {
        (method, path) for method, path in served if path not in UNDOCUMENTED and not path.startswith("/console")
    }


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
