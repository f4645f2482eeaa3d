"""The examples of the document: one person, her session, and what she sends. Each of them is sent by a test."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from app.audit.events import Event
from app.documentation.examples import accounts, administration, operation, preferences, sessions, signing_in
from app.documentation.samples import ADA, CURSOR, EDITOR, IDENTITY, PASSKEY, SESSION_ID

BY_TYPE: Mapping[object, Mapping[str, Struct]] = {
    **accounts.BY_TYPE,
    **signing_in.BY_TYPE,
    **sessions.BY_TYPE,
    **administration.BY_TYPE,
    **operation.BY_TYPE,
}
# What no Struct describes, by the operation's id.
BODIES: Mapping[str, Mapping[str, Any]] = {**signing_in.BODIES, **preferences.BODIES}
# … and by the status.
ANSWERS: Mapping[tuple[str, int], Mapping[str, Any]] = {
    **signing_in.ANSWERS,
    **sessions.ANSWERS,
    **preferences.ANSWERS,
    **operation.ANSWERS,
}

PARAMETERS: Mapping[str, Any] = {
    "active": False,
    "bucket": "day",
    "code": "SplxlOBeZQQYbYS6WxSbIA",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "error": "access_denied",
    "event": Event.LOGIN_FAILED,
    "identity_id": str(IDENTITY.id),
    "iss": "https://accounts.google.com",
    "prompt": "login",
    "provider": "google",
    "redirect_to": "https://app.example.org/signed-in",
    "state": "af0ifjsldkjaf0ifjsldkjaf0ifjsldk",
    "cursor": CURSOR,
    "degraded": "ok",
    "created_after": "2026-01-01T00:00:00Z",
    "created_before": "2026-01-05T09:30:00Z",
    "device": "firefox",
    "except_current": True,
    "factor": "mfa",
    "ip": "203.0.113.0/24",
    "is_active": True,
    "is_admin": False,
    "key": "theme",
    "name": EDITOR.name,
    "page": 2,
    "passkey_id": str(PASSKEY.id),
    "page_size": 100,
    "role": "admin",
    "search": "ada",
    "since": "2026-01-05T00:00:00Z",
    "session_id": str(SESSION_ID),
    "sort": "-created_at",
    "tz": "Europe/Berlin",
    "until": "2026-01-06T00:00:00Z",
    "user_id": ADA.id,
}


def of_body(operation_id: str, kind: object) -> Mapping[str, Any]:
    """What may be sent: values alone, for what is not named has its default."""
    if operation_id in BODIES:
        return BODIES[operation_id]
    return {name: _sent(value) for name, value in BY_TYPE.get(kind, {}).items()}


def of_answer(operation_id: str, status: int, kind: object) -> Mapping[str, Any]:
    if (operation_id, status) in ANSWERS:
        return ANSWERS[operation_id, status]
    return {name: msgspec.to_builtins(value) for name, value in BY_TYPE.get(kind, {}).items()}


def _sent(value: Struct) -> dict[str, Any]:
    defaults = {field.encode_name: field.default for field in msgspec.structs.fields(value)}
    return {name: item for name, item in msgspec.to_builtins(value).items() if item != defaults[name]}
