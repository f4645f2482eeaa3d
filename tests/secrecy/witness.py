"""Watches what goes over the wire: every secret that is sent or handed out is one to be looked for."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from httpx import AsyncClient, Request, Response

from app import base64url
from tests.secrecy.kit import SHORT, Canaries

# Every field of the document's requests is one of these or of those.
SECRET = {
    "password",
    "current_password",
    "new_password",
    "token",
    "refresh_token",
    "mfa_token",
    "code",
    "code_verifier",
    "recovery_code",
    "clientDataJSON",
    "attestationObject",
    "authenticatorData",
    "signature",
    "client_secret",
}
KEPT = {"password_hash"}  # stands in PostgreSQL, and nowhere else
PUBLIC = {
    "add_permissions",
    "description",
    "permissions",
    "remove_permissions",
    "client_id",
    "created_at",
    "email_verified",
    "last_login",
    "mfa_enabled",
    "provider",
    "updated_at",
    "token_type_hint",
    "conversation_history",
    "created_after",
    "created_before",
    "default_model",
    "device",
    "device_name",
    "dry_run",
    "transport",
    "email",
    "enabled",
    "factor",
    "filter",
    "full_name",
    "grant_type",
    "id",
    "ip",
    "is_active",
    "is_admin",
    "language",
    "must_change_password",
    "name",
    "rawId",
    "reason",
    "response",
    "retention_days",
    "roles",
    "theme",
    "transports",
    "type",
    "userHandle",
    "user_id",
    "username",
}
HANDED_OUT = {"access_token", "refresh_token", "mfa_token", "secret", "recovery_codes", "challenge"}
NO_SECRET_IN_QUERY = {"require", "except_current", "degraded", "redirect_to", "code_challenge", "iss"}
SENT_ON = {"code", "state", "nonce"}  # in the query of where a browser is sent
FOUND = 302
OURS = re.compile(r"gh\w?1_[\w-]{60,}")
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


@dataclass
class Witness:
    """Sees what a client asks and is answered."""

    client: AsyncClient
    canaries: Canaries
    document: dict[str, Any]
    served: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    refusals: list[bytes] = field(default_factory=list)
    reads: list[bytes] = field(default_factory=list)
    hashes: Canaries = field(default_factory=Canaries)

    def __post_init__(self) -> None:
        paths = sorted(self.document["paths"], key=lambda path: path.count("{"))
        self._paths = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in paths}
        self.client.event_hooks = {"request": [self._sent], "response": [self._answered]}

    @property
    def routes(self) -> set[str]:
        """All there are."""
        return {
            f"{method.upper()} {path}" for path, operations in self.document["paths"].items() for method in operations
        }

    async def _sent(self, request: Request) -> None:
        where = self._route(request)
        for name, value in parse_qsl(request.url.query.decode()):
            if name not in NO_SECRET_IN_QUERY and len(value) > SHORT:
                self.canaries.keep(f"{name} in the query of {where}", value)
        if value := request.headers.get("authorization"):
            scheme, _, shown = value.rpartition(" ")
            self._keep(f"authorization at {where}", shown)
            if scheme == "Basic":
                self._keep(f"client_secret shown to {where}", b64decode(f"{shown}==").decode().partition(":")[2])
        for pair in request.headers.get("cookie", "").split(";"):
            self._keep_cookie(f"cookie at {where}", pair)
        for name, value in secrets_in(_read(request), SECRET):
            self._keep(f"{name} sent to {where}", value)
        for name, value in secrets_in(_read(request), KEPT):
            self.hashes.keep(f"{name} sent to {where}", value)

    async def _answered(self, response: Response) -> None:
        where, content = self._route(response.request), await response.aread()
        body = _parsed(content)
        for name, value in secrets_in(body, HANDED_OUT):
            self._keep(f"{name} from {where}", base64url.decode(value).decode() if name == "challenge" else value)
        for cookie in response.headers.get_list("set-cookie"):
            self._keep_cookie(f"cookie from {where}", cookie.partition(";")[0])
        for name, value in parse_qsl(urlsplit(response.headers.get("location", "")).query):
            if name in SENT_ON:
                self._keep(f"{name} handed out by {where}", value)
        if response.is_success or response.status_code == FOUND:
            self.served.add(where)
            self.reads += [content] if response.request.method == "GET" else []
            return
        self.refused.add(where)
        if isinstance(body, dict) and body.get("code") == "mfa_required":
            content = content.replace(body["mfa_token"].encode(), b"")  # where it belongs
        self.refusals += [content, *(b"%b: %b" % each for each in response.headers.raw)]

    def _route(self, request: Request) -> str:
        path = request.url.path
        found = next((each for each, pattern in self._paths.items() if pattern.fullmatch(path)), path)
        return f"{request.method} {found}"

    def _keep_cookie(self, name: str, pair: str) -> None:
        if value := pair.partition("=")[2].strip().strip('"'):  # one that is taken back has a value of two quotes
            self._keep(name, value)

    def _keep(self, name: str, secret: str) -> None:
        if OURS.fullmatch(secret):
            self.canaries.keep_token(name, secret)
        elif JWT.fullmatch(secret):
            self.canaries.keep_jwt(name, secret)
        elif name.startswith("secret "):
            self.canaries.keep_seed(name, secret)
        elif name.startswith("client_secret ") and secret.startswith("ghcs_"):
            self.canaries.keep_random(name, secret)
        elif name.startswith("recovery_code"):
            self.canaries.keep_recovery_code(name, secret)
        elif name.startswith("code ") and len(secret) <= SHORT:
            self.canaries.keep_digits(name, secret)
        else:
            self.canaries.keep(name, secret)
            if name.startswith("signature "):
                self.canaries.keep(name, base64url.decode(secret))


def secrets_in(value: Any, names: set[str]) -> Iterator[tuple[str, str]]:
    """The texts that stand under these names, however deep."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name in names:
                yield from ((name, text) for text in (each if isinstance(each, list) else [each]) if text)
            else:
                yield from secrets_in(each, names)
    elif isinstance(value, list):
        for each in value:
            yield from secrets_in(each, names)


def _read(request: Request) -> Any:
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(request.content.decode())
    if request.headers.get("content-type", "").startswith("application/x-ndjson"):
        return [_parsed(line) for line in request.content.splitlines()]
    return _parsed(request.content)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
