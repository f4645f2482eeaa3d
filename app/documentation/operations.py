"""One operation of the document, out of a route handler: its types, its guards, its docstring.

What its signature does not show, a handler says of itself in its decorator:

- `errors=(UsernameTaken, …)`: what it raises beside that which follows from its shape;
- `body={"application/json": Credentials}`: where it reads the body itself;
- `answers={200: Theme, 503: Report}`: where its annotation says less, or it has more than one answer;
- `optional_auth=True`: where it is open and reads the access token itself, if there is one.

Who has `refresh_cookie` in its signature may set the cookie; who takes a refresh token as well reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from inspect import cleandoc
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response
from litestar.constants import RESERVED_KWARGS
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.openapi.spec import Operation, Parameter
from litestar.params import ParameterKwarg
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition
from litestar.utils import get_enum_string_value
from msgspec import Struct

from app.documentation import errors, examples
from app.documentation.schemas import Schemas, given
from app.errors import AppError, NotFound, ValidationFailed

JSON = "application/json"


@dataclass(frozen=True)
class Describer:
    """Makes operations; what they refer to collects in `schemas` and `raised`."""

    schemas: Schemas
    raised: set[type[AppError]]
    credentials: list[dict[str, list[str]]]  # any one of these opens a closed route
    cookie: str  # what the one with the refresh token is called

    def operation(self, route: HTTPRoute, handler: HTTPRouteHandler) -> dict[str, Any]:
        """The operation of a handler at a path."""
        permissions = permissions_of(handler)
        parameters = self._parameters(route, handler)
        body = _body(handler)
        name = operation_id(handler)
        operation: dict[str, Any] = {
            "operationId": name,
            "tags": list(handler.resolve_tags()),
            "summary": handler.summary or name.replace("_", " ").capitalize(),
            "description": _description(handler, permissions),
            "security": self._security(handler),
        }
        if parameters:
            operation["parameters"] = parameters
        if body:
            operation["requestBody"] = self._request_body(name, handler, body)
        raised = _errors(route, handler, parameters, body=bool(body), guarded=bool(permissions))
        self.raised.update(raised)
        fields = [field for kind in body.values() for field in _fields(kind)] + [each["name"] for each in parameters]
        operation["responses"] = _merged(self._answers(name, handler), errors.responses(raised, fields, self.schemas))
        self._add_cookie(handler, body, operation["responses"])
        return operation

    def declared(self, handler: ASGIRouteHandler, method: str) -> dict[str, Any]:
        """The operation of a raw ASGI route, which has no signature to read: it stands beside it, as a constant."""
        declared: Operation = handler.opt["operation"]
        raised = handler.opt["errors"]
        self.raised.update(raised)
        operation = declared.to_schema() | {"security": self.credentials}
        if method != "get":
            operation["operationId"] += f"_by_{method}"
        fields = [parameter.name for parameter in declared.parameters or () if isinstance(parameter, Parameter)]
        operation["responses"] = _merged(operation["responses"], errors.responses(raised, fields, self.schemas))
        return operation

    def _security(self, handler: HTTPRouteHandler) -> list[dict[str, list[str]]]:
        if own := handler.resolve_security():
            return list(own)
        if not handler.opt.get("exclude_from_auth"):
            return self.credentials
        security = [{}, *self.credentials] if _asks_who_calls(handler) else []
        return [*(security or [{}]), {"cookie": []}] if _reads_cookie(handler, _body(handler)) else security

    def _add_cookie(self, handler: HTTPRouteHandler, body: Mapping[str, Any], answers: dict[str, Any]) -> None:
        """Where the refresh token may go to a browser in its cookie, and where that is emptied."""
        if not _has_cookie(handler):
            return
        gone = f"`{self.cookie}` without a value, where it came with one."
        kept = f"`{self.cookie}` with the refresh token, where that is to be in no body."
        said = {str(handler.status_code): gone if _annotated(handler) is None else kept}
        if _reads_cookie(handler, body):
            said["401"] = gone
        for status, description in said.items():
            headers = answers[status].setdefault("headers", {})
            headers["Set-Cookie"] = {"description": description, "schema": {"type": "string"}}

    def _parameters(self, route: HTTPRoute, handler: HTTPRouteHandler) -> list[dict[str, Any]]:
        known = handler.resolve_dependencies().keys() | RESERVED_KWARGS
        fields = handler.parsed_fn_signature.parameters.items()
        return [
            self._parameter(name, field, in_path=name in route.path_parameters)
            for name, field in fields
            if name not in known and not field.is_di_field
        ]

    def _parameter(self, name: str, field: FieldDefinition, *, in_path: bool) -> dict[str, Any]:
        said = field.kwarg_definition if isinstance(field.kwarg_definition, ParameterKwarg) else None
        name = (said.name if said else None) or name
        parameter: dict[str, Any] = {
            "name": name,
            "in": "path" if in_path else said.param_type.value if said else "query",
            "required": in_path or not field.has_default,
        }
        self.schemas.put(given(field.raw), parameter)
        if field.has_default and field.default is not None:
            parameter["schema"]["default"] = field.default
        if name in examples.PARAMETERS:
            parameter["example"] = examples.PARAMETERS[name]
        return parameter

    def _request_body(self, name: str, handler: HTTPRouteHandler, body: Mapping[str, Any]) -> dict[str, Any]:
        data = handler.parsed_fn_signature.parameters.get("data")
        optional = bool(data and data.is_optional)
        content = {
            media_type: self._media(kind | None if optional else kind, examples.of_body(name, kind))
            for media_type, kind in body.items()
        }
        return {"required": not optional, "content": content}

    def _answers(self, name: str, handler: HTTPRouteHandler) -> dict[str, Any]:
        kinds = {handler.status_code: _annotated(handler), **handler.opt.get("answers", {})}
        return {str(status): self._answer(name, handler, status, kind) for status, kind in sorted(kinds.items())}

    def _answer(self, name: str, handler: HTTPRouteHandler, status: int, kind: Any) -> dict[str, Any]:  # noqa: ANN401
        description = status == handler.status_code and handler.response_description
        answer: dict[str, Any] = {"description": description or HTTPStatus(status).phrase}
        if status != HTTPStatus.NO_CONTENT and kind is not None:
            media_type = get_enum_string_value(handler.media_type).partition(";")[0] or JSON
            answer["content"] = {media_type: self._media(kind, examples.of_answer(name, status, kind))}
        return answer

    def _media(self, kind: Any, named: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - any type
        media: dict[str, Any] = {}
        if named:
            media["examples"] = {name: {"value": value} for name, value in named.items()}
        self.schemas.put(str if kind is bytes else kind, media)
        return media


def operation_id(handler: HTTPRouteHandler) -> str:
    return handler.operation_id if isinstance(handler.operation_id, str) else handler.handler_name


def permissions_of(handler: HTTPRouteHandler) -> list[str]:
    """What the guards of a route ask for (app/sessions/caller.py)."""
    guards = [guard for layer in handler.ownership_layers for guard in layer.guards or ()]
    return [guard.permission for guard in guards if hasattr(guard, "permission")]


def _description(handler: HTTPRouteHandler, permissions: list[str]) -> str:
    paragraphs = [handler.description or cleandoc(handler.fn.__doc__ or "")]
    if permissions:
        paragraphs.append("Needs the permission " + " and ".join(f"`{each}`" for each in permissions) + ".")
    if handler.opt.get("with_old_password"):
        paragraphs.append("Also works while the password has to be changed.")
    return "\n\n".join(filter(None, paragraphs))


def _asks_who_calls(handler: HTTPRouteHandler) -> bool:
    """Whether an open route takes an access token all the same."""
    return "optional_caller" in handler.parsed_fn_signature.parameters or "optional_auth" in handler.opt


def _has_cookie(handler: HTTPRouteHandler) -> bool:
    return "refresh_cookie" in handler.parsed_fn_signature.parameters


def _reads_cookie(handler: HTTPRouteHandler, body: Mapping[str, Any]) -> bool:
    """Whether the refresh token that its body may go without can be in the cookie (app/sessions/cookie.py)."""
    return _has_cookie(handler) and any("refresh_token" in _fields(kind) for kind in body.values())


def _body(handler: HTTPRouteHandler) -> Mapping[str, Any]:
    """The types of the body by media type."""
    declared: Mapping[str, Any] = handler.opt.get("body", {})
    data = handler.parsed_fn_signature.parameters.get("data")
    return declared if data is None or declared else {JSON: given(data.annotation)}


def _fields(kind: Any) -> list[str]:  # noqa: ANN401 - any type
    is_struct = isinstance(kind, type) and issubclass(kind, Struct)
    return [field.encode_name for field in msgspec.structs.fields(kind)] if is_struct else []


def _merged(answers: dict[str, Any], failures: dict[str, Any]) -> dict[str, Any]:
    """In the order of their statuses. An answer may have the status of an error: then there are two media types."""
    found = answers | failures
    for status in answers.keys() & failures.keys():
        content = answers[status].get("content", {}) | failures[status]["content"]
        found[status] = answers[status] | failures[status] | {"content": content}
    return dict(sorted(found.items()))


def _annotated(handler: HTTPRouteHandler) -> Any:  # noqa: ANN401 - any type
    kind = handler.parsed_fn_signature.return_type
    if kind.is_subclass_of(Response):
        inner = kind.inner_types[0].raw if kind.inner_types else Any
        return None if inner is type(None) else inner
    return kind.raw if kind.annotation is not type(None) else None


def _errors(
    route: HTTPRoute, handler: HTTPRouteHandler, parameters: list[dict[str, Any]], *, body: bool, guarded: bool
) -> set[type[AppError]]:
    found: set[type[AppError]] = set(handler.opt.get("errors", ()))
    if not handler.opt.get("exclude_from_auth"):
        found.update(errors.CLOSED)
        found.update(() if handler.opt.get("with_old_password") else errors.OLD_PASSWORD)
    elif _asks_who_calls(handler):
        found.update(errors.OPTIONAL)
    if guarded:
        found.update(errors.GUARDED)
    if body:
        found.update(errors.WITH_BODY)
    in_path = {name: definition.type for name, definition in route.path_parameters.items()}
    if any(kind is not str for kind in in_path.values()):
        found.add(NotFound)  # what does not look like an id is no path of ours
    if any(in_path.get(parameter["name"]) is not UUID for parameter in parameters):
        found.add(ValidationFailed)
    return found
