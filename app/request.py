"""A request as we read it: who sends it, and its body: JSON only where JSON is asked, bounded in depth, never a 500."""

from collections.abc import AsyncGenerator
from typing import Any, get_args
from urllib.parse import parse_qsl

import msgspec
from litestar import Request as LitestarRequest
from litestar.connection import ASGIConnection
from litestar.datastructures import FormMultiDict
from litestar.exceptions import InternalServerException, ValidationException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import Receive, Scope
from msgspec import Struct

from app.client import Client, client_ip, printable
from app.errors import MalformedRequest, PayloadTooLarge, UnsupportedMediaType
from app.reading import decode
from app.setting_values import Network

MAX_USER_AGENT = 512  # characters kept of what a client says of itself
MAX_BODY_BYTES = 1 << 20  # 1 MiB
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
NDJSON = "application/x-ndjson"  # a value a line
ENDED_EARLY = "The body ended early."
MAX_FIELDS = 100  # of a form; OAuth 2 knows about ten
MAX_ESCAPES = 10_000  # of a form, which are as dear


class Request(LitestarRequest[Any, Any, Any]):
    """Litestar would read JSON out of `text/plain` (a CSRF hole) and answer deep nesting and bad UTF-8 with 500.

    It would take 1 and `"true"` for true in a body, as it has to in a query. And it would keep the last 1024 forms, of
    up to 1 MiB and with their passwords, in a cache of its parser.
    """

    async def json(self) -> Any:  # noqa: ANN401 - JSON is any value
        require_type(self.scope, JSON)
        value = decode(await self.body())
        data = self.route_handler.parsed_fn_signature.parameters.get("data")
        if data is None or not any(_is_struct(kind) for kind in (data.annotation, *get_args(data.annotation))):
            return value
        try:
            return msgspec.convert(value, data.annotation, dec_hook=self.route_handler.default_deserializer)
        except msgspec.ValidationError as error:
            raise ValidationException(extra=[{"message": str(error), "key": "data"}]) from None

    async def form(self) -> FormMultiDict:
        require_type(self.scope, FORM)
        return FormMultiDict(decode_form(await self.body()))

    async def stream(self) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in super().stream():
                yield chunk
        except InternalServerException:  # the client has gone, or broke off its chunks
            raise MalformedRequest(ENDED_EARLY) from None
        except RequestEntityTooLarge:
            raise PayloadTooLarge from None


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this name, as Latin-1 text."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def cookies(scope: Scope) -> list[tuple[str, str]]:
    """Name and value of each cookie, as they come; a name may come twice."""
    pairs = [
        pair.strip().partition("=")
        for name, value in scope["headers"]
        if name == b"cookie"
        for pair in value.decode("latin-1").split(";")
    ]
    return [(name, value) for name, _, value in pairs]


def client_at(scope: Scope, trusted: tuple[Network, ...], request_id: str) -> Client:
    """The client of a request."""
    peer = scope.get("client")
    forwarded = [value.decode("latin-1") for key, value in scope["headers"] if key == b"x-forwarded-for"]
    return Client(
        ip=str(client_ip(peer[0] if peer else "", forwarded, trusted)),
        user_agent=printable(header(scope, b"user-agent") or "")[:MAX_USER_AGENT],
        request_id=request_id,
    )


def client_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Client:
    """The client of a connection to an application of ours; its request id was given at the edge."""
    trusted = connection.app.state.settings.trusted_proxies
    return client_at(connection.scope, trusted, connection.scope["state"]["request_id"])


async def provide_client(request: LitestarRequest[Any, Any, Any]) -> Client:
    """Dependency `client`."""
    return client_of(request)


def media_type(scope: Scope) -> str:
    return (header(scope, b"content-type") or "").partition(";")[0].strip().lower()


def require_type(scope: Scope, expected: str) -> None:
    if media_type(scope) != expected:
        raise UnsupportedMediaType(f"Send {expected}.")


async def read_json(scope: Scope, receive: Receive) -> Any:  # noqa: ANN401 - JSON is any value
    """The JSON body of a request that Litestar has not read.

    Raises:
        UnsupportedMediaType: it says that it is something else.
        MalformedRequest: see `decode`.
        PayloadTooLarge: beyond MAX_BODY_BYTES.
    """
    require_type(scope, JSON)
    return decode(await _read(receive))


async def read_form(scope: Scope, receive: Receive) -> dict[str, str]:
    """The same for a form; see `decode_form`."""
    require_type(scope, FORM)
    return decode_form(await _read(receive))


async def _read(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise MalformedRequest(ENDED_EARLY)
        pieces.append(message["body"])
        size += len(message["body"])
        if size > MAX_BODY_BYTES:
            raise PayloadTooLarge
        if not message["more_body"]:
            return b"".join(pieces)


def decode_form(body: bytes) -> dict[str, str]:
    """The fields of a form.

    Raises:
        MalformedRequest: not UTF-8, too many fields, one of them twice (RFC 6749 §3.2), or with a NUL.
    """
    if body.count(b"%") > MAX_ESCAPES:
        raise MalformedRequest("The body is not a valid form.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise MalformedRequest("The body is not a valid form.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise MalformedRequest("The form has a field twice.")
    if any("\0" in text for pair in pairs for text in pair):
        raise MalformedRequest("The body holds a NUL character.")
    return fields
