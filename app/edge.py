"""The outermost ring: a request gets its id on the way in, and on the way out its headers and its line in the log."""

import logging
import random
import re
import time
from collections.abc import Callable, Container, Mapping
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

import structlog
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from app import logs, problems
from app.body import UNKNOWN_LENGTH, Body, Held
from app.browsers import Browsers, Headers
from app.client import printable
from app.deadlines import Deadlines
from app.errors import (
    AppError,
    ClientGone,
    HeadersTooLarge,
    InternalError,
    MalformedRequest,
    NotFound,
    UnsupportedMediaType,
)
from app.express import Answered, Express
from app.traffic import PREFLIGHT, UNMATCHED

log = structlog.get_logger(__name__)

VALID_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
HIDDEN = re.compile(rb"%2f|%5c", re.IGNORECASE)  # slashes that are seen only by who decodes
REQUEST_ID_BITS = 128  # as many as a trace id has (W3C Trace Context §3.2.2.3)
OK = 200
SINGLE = frozenset((b"authorization", b"content-type", b"origin", b"sec-fetch-site", b"sec-fetch-mode"))
WATCHED = SINGLE | {b"x-request-id", b"content-encoding", b"transfer-encoding", b"content-length"}
MAX_HEADER_BYTES = 64 * 1024
LATE_SECONDS = 1.0  # by so much a body may stall longer than it may
MAX_LOGGED_PATH = 512  # characters; the longest path of ours has half as many
# A request that went well is a line at level info; these, which come all the time, at debug: they only look, or are
# in the audit trail, with the request's id.
QUIET = ("/health", "/health/live", "/health/ready", "/health/startup", "/metrics", "/refresh")
# told of every request: its method, its route, the status, and the seconds until the answer was out
Count: TypeAlias = Callable[[str, str, int, float], None]


class Edge:
    """Wraps the application.

    Args:
        app: the Litestar application.
        browsers: the headers of every answer.
        without_body: what is answered here, by method and path, if no body comes: see app/express.py.
        with_body: the same if one comes.
        streamed: whose bodies are worked on while they come.
        others: applications beside it, each by the first part of its paths.
        count: told of every request.
    """

    def __init__(
        self,
        app: Litestar,
        browsers: Browsers,
        without_body: Mapping[tuple[str, str], Express],
        with_body: Mapping[tuple[str, str], Express],
        streamed: Container[tuple[str, str]],
        others: Mapping[str, ASGIApp],
        *,
        count: Count,
    ) -> None:
        self.app = app
        self._browsers = browsers
        self._without_body = without_body
        self._with_body = with_body
        self._streamed = streamed
        self._others = others
        self._count = count
        self._deadlines = Deadlines(LATE_SECONDS)
        self._held = Held()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        request_id, length, origin, problem = _inspect(scope)
        logs.request_id.set(request_id)  # a request is a task of its own, and takes this with it
        body = None
        ways = self._without_body
        if length is not None:
            streamed = (scope["method"], scope["path"]) in self._streamed
            body = Body(receive, self._deadlines, self._held, length, streamed=streamed)
            ways = self._with_body
        if origin is not None and _room(scope["path"]) in self._others:
            origin = None  # their pages are for who looks at them: no front end reads them with his cookies
        headers = self._browsers.of(origin)
        route = scope["path"]
        express = ways.get((scope["method"], route))
        if scope["method"] == "OPTIONS" and problem is None and (asked := self._browsers.preflight(scope, origin)):
            express, route = _answering(asked), PREFLIGHT
        try:
            if express is not None and problem is None:
                await self._answer_here(express, route, scope, receive, send, request_id, body, headers)
            else:
                await self._pass_on(scope, receive, send, request_id, body, headers, problem)
        finally:
            if body is not None:
                body.release()

    async def _answer_here(
        self,
        express: Express,
        route: str,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        request_id: str,
        body: Body | None,
        every: Headers,
    ) -> None:
        started = time.perf_counter()
        status = ClientGone.status  # unless it is answered
        try:
            try:
                headers, content = await express(scope, request_id, body or receive)
                status = OK
            except Exception as error:  # noqa: BLE001 - what is not ours becomes a 500
                status, headers, content = _refused(error, request_id)
            own = ((b"content-length", b"%d" % len(content)), (b"x-request-id", request_id.encode()))
            await send({"type": "http.response.start", "status": status, "headers": [*headers, *own, *every]})
            if body is not None:
                await body.drain()
            await send({"type": "http.response.body", "body": content, "more_body": False})
        finally:
            seconds = time.perf_counter() - started
            self._count(scope["method"], route, status, seconds)
            if body is not None or status != OK:  # a look that went well is worth no line
                _write_line(scope, status, seconds)

    async def _pass_on(
        self,
        scope: HTTPScope,
        receive: Receive,
        send: Send,
        request_id: str,
        body: Body | None,
        every: Headers,
        problem: AppError | None,
    ) -> None:
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        own_headers = [(b"x-request-id", request_id.encode()), *every]
        started = time.perf_counter()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                names = {name for name, _ in headers}
                message["headers"] = headers + [header for header in own_headers if header[0] not in names]
            elif body is not None and not message.get("more_body", False):
                await body.drain()
            await send(message)

        try:
            if problem is not None:
                raise problem  # noqa: TRY301 - refused as if the application had
            app = self._others.get(_room(scope["path"]), self.app)
            await app(scope, body or receive, send_on)
        except Exception as error:
            if status:
                raise  # half an answer is out already
            refused, headers, content = _refused(error, request_id)
            headers.append((b"content-length", b"%d" % len(content)))
            await send_on({"type": "http.response.start", "status": refused, "headers": headers})
            await send_on({"type": "http.response.body", "body": content, "more_body": False})
        finally:
            seconds = time.perf_counter() - started
            self._count(scope["method"], scope.get("path_template", UNMATCHED), status or ClientGone.status, seconds)
            _write_line(scope, status, seconds)


def _room(path: str) -> str:
    return "/" + path[1:].partition("/")[0]


def _answering(headers: Headers) -> Express:
    async def answer(*_: object) -> Answered:
        return headers, b""

    return answer


def _inspect(scope: HTTPScope) -> tuple[str, int | None, bytes | None, AppError | None]:
    """The request's id (a valid incoming one is kept), its body's length, the origin, and why it goes no further."""
    request_id = b""
    size = 0
    length: int | None = None
    origin = None
    single = []
    encoded = False
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name not in WATCHED:
            continue
        if name == b"x-request-id":
            request_id = value
        elif name in SINGLE:
            single.append(name)
            if name == b"origin":
                origin = value
        elif name == b"content-encoding":
            encoded = True
        elif name == b"transfer-encoding" or not value.isdigit():
            length = UNKNOWN_LENGTH
        elif value != b"0" and length is None:
            length = int(value)
    kept = _kept(request_id) or f"{random.getrandbits(REQUEST_ID_BITS):032x}"
    path = scope["path"]
    if (
        size > MAX_HEADER_BYTES
        or len(single) > 1
        or encoded
        or b"%" in scope["query_string"]
        or b"%" in scope["raw_path"]
        or "//" in path
        or "\0" in path
        or "\ufffd" in path
    ):
        return kept, length, origin, _objection(scope, size, single, encoded=encoded and length is not None)
    return kept, length, origin, None


def _kept(request_id: bytes) -> str:
    return request_id.decode() if request_id and VALID_REQUEST_ID.fullmatch(request_id) else ""


def _objection(scope: HTTPScope, size: int, single: list[bytes], *, encoded: bool) -> AppError | None:
    path, query = scope["path"], scope["query_string"]
    if size > MAX_HEADER_BYTES:
        return HeadersTooLarge()
    if "\0" in path or "\ufffd" in path or not _readable(query):
        return MalformedRequest("The address is not UTF-8, or holds a NUL character.")
    if "//" in path or HIDDEN.search(scope["raw_path"]):  # the router would take it for another path than a proxy
        return NotFound()
    if len(set(single)) < len(single):  # a proxy may have gone by the other one
        return MalformedRequest("A header comes twice that may come once.")
    if encoded:  # read as it is, it would be something else (RFC 9110 §15.5.16)
        return UnsupportedMediaType("Send the body without a content encoding.")
    return None


def _readable(query: bytes) -> bool:
    """Whether all of it is UTF-8 without a NUL. A path was decoded by the server: U+FFFD stands for what was not."""
    try:
        return "\0" not in unquote_to_bytes(query).decode()
    except UnicodeDecodeError:
        return False


def _refused(error: Exception, request_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body for an error; what is none of ours is a fault, and logged.

    Whoever catches it keeps no name for it: with its traceback that would be a cycle, and the request's body in it.
    """
    if not isinstance(error, AppError):
        log.error("request.failed", exc_info=error)
        error = InternalError()
    own = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return error.status, [(b"content-type", problems.MEDIA_TYPE.encode()), *own], problems.body(error, request_id)


def _write_line(scope: HTTPScope, status: int, seconds: float) -> None:
    quiet = status < 400 and scope["path"].endswith(QUIET)  # noqa: PLR2004 - the first status of an error
    level = logging.DEBUG if quiet else logging.INFO
    if log.is_enabled_for(level):
        path = printable(scope["path"])[:MAX_LOGGED_PATH]
        log.log(level, "request", method=scope["method"], path=path, status=status, ms=round(seconds * 1000, 1))
