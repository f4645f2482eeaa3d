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
from app.reading import field_error

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

NO_BODY = "'data'"  # what Litestar says where a handler's parameter `data` got nothing
ABSENT = re.compile(r"Missing required query parameter '(\w+)'")  # what Litestar says of one without a default


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


HANDLERS: ExceptionHandlersMap = {
    AppError: handle,
    HTTPException: handle_framework,
    Exception: handle_unexpected,
}
