"""The outermost ring: a request gets its id on the way in, and on the way out its headers and its line in the log."""

import random
import re
import time

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from app import logs, problems
from app.errors import AppError, HeadersTooLarge, InternalError, MalformedRequest

log = structlog.get_logger(__name__)

VALID_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
MAX_HEADER_BYTES = 64 * 1024
QUIET = ("/verify", "/me", "/health", "/health/live", "/health/ready", "/health/startup", "/metrics")

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Edge:
    """Wraps the application; the state it keeps is the number of requests under way."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # type: ignore[comparison-overlap] # lifespan comes this way, too
            await self.app(scope, receive, send)
            return
        request_id, problem = _inspect(scope)
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        token = logs.request_id.set(request_id)
        own_headers = [(b"x-request-id", request_id.encode()), *SECURITY_HEADERS]
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                names = {name.lower() for name, _ in headers}
                headers += [header for header in own_headers if header[0] not in names]
                message["headers"] = headers
            await send(message)

        self.in_flight += 1
        started = time.perf_counter()
        try:
            if problem is not None:
                await _answer(problem, request_id, send_on)
            else:
                await self.app(scope, receive, send_on)
        except Exception:
            log.exception("request.failed")
            if not status:
                await _answer(InternalError(), request_id, send_on)
        finally:
            self.in_flight -= 1
            _write_line(scope, status, time.perf_counter() - started)
            logs.request_id.reset(token)


def _inspect(scope: Scope) -> tuple[str, AppError | None]:
    """The request's id (a valid incoming one is kept), and why the request goes no further."""
    request_id = b""
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name == b"x-request-id":
            request_id = value
    kept = request_id.decode() if VALID_REQUEST_ID.fullmatch(request_id) else f"{random.getrandbits(128):032x}"
    if size > MAX_HEADER_BYTES:
        return kept, HeadersTooLarge()
    if b"%00" in scope["query_string"] or "\0" in scope["path"]:
        return kept, MalformedRequest("The address holds a NUL character.")
    return kept, None


async def _answer(error: AppError, request_id: str, send: Send) -> None:
    content = problems.body(error, request_id)
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(content)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def _write_line(scope: Scope, status: int, seconds: float) -> None:
    """One line a request; one that only looks is worth a line when it went wrong, or at level debug."""
    quiet = status < 400 and scope["path"].endswith(QUIET)  # noqa: PLR2004 - the first status of an error
    write = log.debug if quiet else log.info
    write("request", method=scope.get("method"), path=scope["path"], status=status, ms=round(seconds * 1000, 1))
