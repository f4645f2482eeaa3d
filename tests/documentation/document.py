"""The document, as tests read it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator, oas31_format_checker

from app.documentation.document import document_of
from app.main import create_app
from tests.replica import settings_for

ROOT = "https://auth.example.test"
PROBLEM = "application/problem+json"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
NDJSON = "application/x-ndjson"
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
