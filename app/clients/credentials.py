"""How a client shows who it is: HTTP Basic, or two fields of the form (RFC 6749 §2.3.1)."""

import base64
from collections.abc import Mapping
from urllib.parse import unquote_plus

from litestar.types import Scope

from app.errors import InvalidClient, MalformedRequest
from app.request import header


def credentials_of(scope: Scope, fields: Mapping[str, str]) -> tuple[str, str]:
    """The client's id and secret. Another scheme of `Authorization` says nothing about a client.

    Raises:
        InvalidClient: there are none, or they cannot be read.
        MalformedRequest: there are two.
    """
    client_id, secret = fields.get("client_id", ""), fields.get("client_secret", "")
    scheme, _, encoded = (header(scope, b"authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        if not (client_id and secret):
            raise InvalidClient
        return client_id, secret
    if secret:
        raise MalformedRequest("The client's secret comes by Basic or in the form, not both.")
    by_basic = _decoded(encoded.strip())
    if client_id not in ("", by_basic[0]):
        raise MalformedRequest("The form names another client than Basic.")
    return by_basic


def _decoded(encoded: str) -> tuple[str, str]:
    """Both are urlencoded before they are put together, so that a colon in one of them divides nothing."""
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:
        raise InvalidClient from None
