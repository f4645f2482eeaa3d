"""Which errors an operation can answer, and what each looks like.

What follows from a route's shape (closed, guarded, with a body, with parameters) is found out here; a route names only
its own: `@post("/register", errors=(UsernameTaken, EmailTaken))`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from app import problems
from app.documentation.schemas import Problem, Schemas
from app.errors import (
    AppError,
    Forbidden,
    InternalError,
    InvalidToken,
    MalformedRequest,
    NotAuthenticated,
    PasswordChangeRequired,
    PayloadTooLarge,
    RateLimited,
    SessionRevoked,
    Unavailable,
    UnsupportedMediaType,
    ValidationFailed,
    WeakPassword,
)

CLOSED: tuple[type[AppError], ...] = (NotAuthenticated, InvalidToken, SessionRevoked, Unavailable)
OPTIONAL: tuple[type[AppError], ...] = (InvalidToken, SessionRevoked, Unavailable)
OLD_PASSWORD: tuple[type[AppError], ...] = (PasswordChangeRequired,)
GUARDED: tuple[type[AppError], ...] = (Forbidden,)
WITH_BODY: tuple[type[AppError], ...] = (MalformedRequest, PayloadTooLarge, UnsupportedMediaType, ValidationFailed)
OF_FIELDS: frozenset[type[AppError]] = frozenset({ValidationFailed, WeakPassword})  # name fields of the request

REQUEST_ID = "5f0c7d1e9a4b4c0e8f6d2b3a1c9e7f50"
HEADERS = {
    "Retry-After": "Seconds to wait.",
    "WWW-Authenticate": "The challenge: RFC 6750 §3, where a client has to show who it is RFC 7617 §2.",
}


def sample(kind: type[AppError], fields: Sequence[str]) -> AppError:
    """An error of this class as a request with these fields might meet it."""
    if kind is ValidationFailed:
        return ValidationFailed((fields[0] if fields else "body", "does not fit its description"))
    if kind is WeakPassword:
        field = next((name for name in reversed(fields) if name.endswith("password")), "password")
        return WeakPassword("The password has to have at least 8 characters.", field)
    if kind is RateLimited:
        return RateLimited("login", retry_after_seconds=840)
    return kind()


def examples(kinds: Iterable[type[AppError]]) -> dict[str, Any]:
    """For the components: those that are the same for every operation."""
    kinds = sorted(set(kinds) - OF_FIELDS, key=lambda kind: (kind.status, kind.code))
    return {kind.code: _example(kind, ()) for kind in kinds}


def responses(kinds: Iterable[type[AppError]], fields: Sequence[str], schemas: Schemas) -> dict[str, Any]:
    """The answers of an operation that can fail in these ways, by status; `default` is a fault of ours."""
    by_status: dict[int, list[type[AppError]]] = {}
    for kind in sorted(set(kinds), key=lambda kind: (kind.status, kind.code)):
        by_status.setdefault(kind.status, []).append(kind)
    found = {str(status): _response(kinds, fields, schemas) for status, kinds in by_status.items()}
    return {**found, "default": {**_response([InternalError], (), schemas), "description": "Any other error."}}


def _response(kinds: list[type[AppError]], fields: Sequence[str], schemas: Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {
        "examples": {
            kind.code: _example(kind, fields) if kind in OF_FIELDS else {"$ref": f"#/components/examples/{kind.code}"}
            for kind in kinds
        }
    }
    schemas.put(Problem, content)
    response: dict[str, Any] = {
        "description": " ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
        "content": {problems.MEDIA_TYPE: content},
    }
    names = {name for kind in kinds for name in sample(kind, fields).headers}
    if names:
        response["headers"] = {
            name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in sorted(names)
        }
    return response


def _example(kind: type[AppError], fields: Sequence[str]) -> dict[str, Any]:
    """The body, made by what answers it."""
    return {"value": msgspec.json.decode(problems.body(sample(kind, fields), REQUEST_ID))}


def table() -> str:
    """All codes, as a table in Markdown."""
    rows = sorted({(kind.status, kind.code, kind.title) for kind in every(AppError)})
    lines = [f"| {status} | `{code}` | {title} |" for status, code, title in rows]
    return "\n".join(["| status | code | |", "| --- | --- | --- |", *lines])


def every(kind: type[AppError]) -> Iterator[type[AppError]]:
    """The errors below a class that have a code of their own."""
    for below in kind.__subclasses__():
        if "code" in vars(below):
            yield below
        yield from every(below)
