"""Errors become pages, or the way to what is asked for first; here and nowhere else."""

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from app.client import Client
from app.console.forms import StaleForm, then
from app.console.visit import ROOT, SIGN_IN, Visit
from app.errors import (
    AppError,
    InternalError,
    MalformedRequest,
    PasswordChangeRequired,
    ReauthenticationRequired,
    Unauthenticated,
)
from app.problems import BY_STATUS, from_validation

log = structlog.get_logger(__name__)

NOBODY = Client(ip="", user_agent="", request_id="")  # a page of an error records nothing


def refuse(request: Request[Any, Any, Any], error: AppError) -> Response[bytes]:
    """A page that says so; or first the sign-in, the new password, the proof of who it is, and then back here."""
    visit = Visit(request, request.app.state.console, NOBODY)
    here = visit.address if request.method == "GET" else visit.back(request.scope["state"].get("form", {}))
    if isinstance(error, Unauthenticated):
        visit.keep(*visit.console.cookies.signed_out())
        return visit.go(then(SIGN_IN, here), "session-ended" if visit.came_signed_in else None)
    if isinstance(error, PasswordChangeRequired):
        return visit.go(f"{ROOT}/account/password")
    if isinstance(error, ReauthenticationRequired):
        return visit.go(then(f"{ROOT}/confirm", here))
    back = here if isinstance(error, StaleForm) else ROOT
    return visit.page("refused.html", status=error.status, refused=error, back=back)


def refuse_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if isinstance(error, ValidationException):
        return refuse(request, from_validation(error))
    if error.status_code >= 500:  # noqa: PLR2004 - the class of server errors
        return refuse_unexpected(request, error)
    return refuse(request, BY_STATUS.get(error.status_code, MalformedRequest)())


def refuse_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("request.failed", exc_info=error)
    return refuse(request, InternalError())


REFUSALS: ExceptionHandlersMap = {
    AppError: refuse,
    HTTPException: refuse_framework,
    Exception: refuse_unexpected,
}
