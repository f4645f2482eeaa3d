"""How a request's body is read: JSON only where JSON is asked, bounded in depth, and never a 500."""

import re
from typing import Any

import msgspec
from litestar import Request as LitestarRequest

from app.errors import MalformedRequest, UnsupportedMediaType

MAX_DEPTH = 64  # levels of nesting
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # refused by PostgreSQL in text and json

_decode = msgspec.json.Decoder().decode


class Request(LitestarRequest[Any, Any, Any]):
    """Litestar would read JSON out of `text/plain` (a CSRF hole) and answer deep nesting and bad UTF-8 with 500."""

    async def json(self) -> Any:  # noqa: ANN401 - JSON is any value
        require_type(self, "application/json")
        return decode(await self.body())

    async def body(self) -> bytes:
        body = await super().body()
        if not body:
            return body
        require_known_type(self)
        return body


def media_type(request: LitestarRequest[Any, Any, Any]) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_type(request: LitestarRequest[Any, Any, Any], expected: str) -> None:
    if media_type(request) != expected:
        raise UnsupportedMediaType(f"Send {expected}.")


def require_known_type(request: LitestarRequest[Any, Any, Any]) -> None:
    if media_type(request) not in ("application/json", "application/x-www-form-urlencoded", "application/x-ndjson"):
        raise UnsupportedMediaType("Send application/json.")


def decode(body: bytes) -> Any:  # noqa: ANN401 - JSON is any value
    """The JSON value of these bytes.

    Raises:
        MalformedRequest: not UTF-8, not JSON, nested too deep, or with a NUL.
    """
    check(body)
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise MalformedRequest("The body is not valid JSON.") from None


def check(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and depth(body) > MAX_DEPTH:
        raise MalformedRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")
    if b"u0000" in body and NUL.search(body):
        raise MalformedRequest("The body holds a NUL character.")


STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


def depth(body: bytes) -> int:
    """The deepest nesting of a JSON text; brackets inside strings do not count."""
    deepest = level = 0
    for match in STRUCTURE.finditer(body):
        first = match[0][:1]
        if first in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif first in b"]}":
            level -= 1
    return deepest
