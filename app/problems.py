"""Errors become answers here and nowhere else: application/problem+json (RFC 9457) with a stable `code`."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from app.errors import (
    AppError,
    Forbidden,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

BY_STATUS: Mapping[int, type[AppError]] = {
    400: MalformedRequest,
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
}

# What msgspec may say of a value: what it should be. Anything else might echo what it was.
HARMLESS = re.compile(
    r"Expected `[\w| <>=.,-]+`(?: (?:of length|matching regex|>=|<=|>|<) ?.*)?(?:, got `\w+`)?"
    r"|Object missing required field `\w+`"
    r"|takes either \w+ or \w+",  # a Struct's own word
    re.DOTALL,
)
MISSING = re.compile(r"Object missing required field `(\w+)`")
UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
NO_BODY = "'data'"  # what Litestar says where a handler's parameter `data` got nothing
ABSENT = re.compile(r"Missing required query parameter '(\w+)'")  # what Litestar says of one without a default
AT = re.compile(r" - at `\$?\.?(.*?)`$", re.DOTALL)
NAME = re.compile(r"[\w.\[\]-]{1,64}")


def body(error: AppError, request_id: str) -> bytes:
    return msgspec.json.encode(
        {
            "type": f"urn:gatehouse:problem:{error.code}",
            "title": error.title,
            "status": error.status,
            "detail": error.detail,
            "code": error.code,
            "request_id": request_id,
            **error.members,
        }
    )


def handle(request: Request[Any, Any, Any], error: AppError) -> Response[bytes]:
    request_id = request.scope["state"].get("request_id", "")
    return Response(body(error, request_id), status_code=error.status, headers=error.headers, media_type=MEDIA_TYPE)


def handle_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar itself refuses."""
    if isinstance(error, ValidationException):
        return handle(request, from_validation(error))
    if error.status_code >= 500:  # noqa: PLR2004 - the class of server errors
        return handle_unexpected(request, error)
    made = BY_STATUS.get(error.status_code, MalformedRequest)()
    made.headers |= {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return handle(request, made)


def handle_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("request.failed", exc_info=error)
    return handle(request, InternalError())


def from_validation(error: ValidationException) -> AppError:
    if absent := ABSENT.match(error.detail):
        return ValidationFailed((absent[1], "is required"))
    items = [item for item in (error.extra or []) if isinstance(item, dict)]
    if not items or items[0].get("message") == NO_BODY:
        return MalformedRequest("A JSON body is needed.")
    found = [field_error(item) for item in items]
    return ValidationFailed(*found)


T = TypeVar("T")


def convert(value: object, kind: type[T]) -> T:
    """A Struct out of what a body held, for the routes that read it themselves.

    Raises:
        ValidationFailed: it does not fit.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ValidationFailed(field_error({"message": str(error)})) from None


def field_error(item: Mapping[str, Any]) -> tuple[str, str]:
    """The field and what it should be; never what was sent."""
    message, field = str(item.get("message", "")), str(item.get("key", ""))
    if at := AT.search(message):
        message = message[: at.start()]
        field = at[1] if not field or field == "data" else field
    if missing := MISSING.fullmatch(message):
        return ".".join(filter(None, (field if field != "data" else "", missing[1]))), "is required"
    if unknown := UNKNOWN_FIELD.fullmatch(message):
        return (unknown[1] if NAME.fullmatch(unknown[1]) else "body"), "is not a field of this request"
    if message.startswith("Missing required"):
        return field, "is required"
    if field == "data" or not NAME.fullmatch(field):
        field = "body"
    return field, message if HARMLESS.fullmatch(message) else "does not fit its description"


HANDLERS: ExceptionHandlersMap = {
    AppError: handle,
    HTTPException: handle_framework,
    Exception: handle_unexpected,
}
