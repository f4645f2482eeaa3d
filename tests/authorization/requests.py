"""What each row of the matrix sends: a right request, so that nothing but who asks can be in its way."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from app.factors import queries as factors
from app.federation import queries as federation
from app.proofs import queries as proofs
from app.proofs.tokens import OneTimeTokens, Purpose
from app.uuid7 import uuid7
from tests.authorization.cast import Caller, Cast
from tests.authorization.matrix import LET_IN, Row
from tests.federation.kit import code_of, query_of, s256
from tests.federation.realm import APP
from tests.identity.factorkit import Authenticator, enrolled, first_step
from tests.identity.importkit import ndjson, new_line
from tests.identity.kit import new_role, new_role_name, person
from tests.identity.webauthnkit import Key, login_options, registration_options
from tests.kit import Person, SignedIn, new_name, new_password


@dataclass
class Sent:
    """What comes beside the caller's token."""

    json: object = None
    form: Mapping[str, str] | None = None
    path: Mapping[str, object] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    lines: bytes | None = None  # NDJSON


@dataclass
class Scene:
    """A row and a caller. What a request that is let in would use up is made for it alone."""

    cast: Cast
    row: Row
    kind: str
    caller: Caller

    @property
    def is_let_in(self) -> bool:
        return self.row.cells[self.kind] == LET_IN

    async def target(self) -> SignedIn:
        """Whom it is about."""
        if self.row.about == "of himself" and self.caller.session is not None:
            return self.caller.session
        is_about = "admin" if self.row.about == "of an administrator" else "user"
        return await self.cast.other(is_about, new=self.is_let_in)

    async def session(self) -> SignedIn:
        """The caller's own, or that of whoever is there instead of one who has none."""
        if self.row.about == "of another" or self.caller.session is None:
            return await self.cast.other("user", new=False)
        return self.caller.session

    @property
    def person(self) -> Person:
        return self.caller.person or Person(0, new_name(), new_password())

    async def link(self, purpose: Purpose) -> str:
        """The token of a mail to somebody else."""
        user = (await self.cast.other("reader of mail", new=False)).body["user"]
        async with self.cast.parts.db.transaction() as tx:
            issued = await proofs.issue(tx, purpose, user["id"], user["email"], 60)
        return OneTimeTokens(self.cast.parts.settings.secret_key).issue(purpose, issued.token_id)

    async def authenticator(self) -> Authenticator:
        """The caller's, if he gets as far as to need one."""
        if self.is_let_in and self.caller.session is not None:
            return await enrolled(self.caller.session)
        return Authenticator("A" * 32, ["none"])


Request = Callable[[Scene], Awaitable[Sent]]
REQUESTS: dict[str, Request] = {}  # by the route; who has no entry sends nothing
BY_UNDERSTUDIES: set[str] = set()  # after which the caller is not what he was


def route(*names: str, understudy: bool = False) -> Callable[[Request], Request]:
    def keep(request: Request) -> Request:
        REQUESTS.update(dict.fromkeys(names, request))
        BY_UNDERSTUDIES.update(names if understudy else ())
        return request

    return keep


# ---- coming in ------------------------------------------------------------------------------------------------------


@route("POST /register")
async def register(scene: Scene) -> Sent:
    return Sent({"username": new_name(), "password": new_password()})


@route("POST /login")
async def login(scene: Scene) -> Sent:
    ada = scene.caller.person or await person(scene.cast.admin)
    return Sent({"username": ada.username, "password": ada.password})


@route("POST /login/mfa")
async def second_step(scene: Scene) -> Sent:
    ada, authenticator = await scene.cast.with_factor()
    await scene.cast.parts.db.execute("UPDATE totp_secrets SET last_step = 0 WHERE user_id = $1", ada.id)
    return Sent({"mfa_token": await first_step(scene.cast.client, ada), "code": authenticator.code()})


@route("POST /login/passkey/options")
async def nothing(scene: Scene) -> Sent:
    return Sent({})


@route("POST /login/passkey")
async def passkey(scene: Scene) -> Sent:
    key = await scene.cast.key()
    return Sent(key.shown(await login_options(scene.cast.client)))


@route("POST /refresh", "POST /logout with a refresh token", understudy=True)
async def refresh(scene: Scene) -> Sent:
    session = scene.caller.session or await scene.cast.other("user", new=True)
    return Sent({"refresh_token": session.refresh_token})


@route("POST /password/forgot")
async def forgot(scene: Scene) -> Sent:
    return Sent({"email": f"{new_name()}@example.org"})


@route("POST /password/reset")
async def reset(scene: Scene) -> Sent:
    return Sent({"token": await scene.link(Purpose.RESET_PASSWORD), "new_password": new_password()})


@route("POST /password/not-me")
async def not_me(scene: Scene) -> Sent:
    return Sent({"token": await scene.link(Purpose.NOT_ME)})


@route("POST /email/verify")
async def verify_email(scene: Scene) -> Sent:
    return Sent({"token": await scene.link(Purpose.VERIFY_EMAIL)})


@route("POST /introspect", "POST /introspect as a client", "POST /revoke", "POST /revoke as a client")
async def ask_about(scene: Scene) -> Sent:
    other = await scene.cast.other("user", new=scene.is_let_in)
    form = {"token": other.refresh_token}
    if scene.row.about:
        form |= await scene.cast.service()
    return Sent(form=form)


@route("GET /oauth/{provider}/start")
async def start(scene: Scene) -> Sent:
    query = {"redirect_to": APP, "code_challenge": s256(secrets.token_urlsafe(32))}
    return Sent(path={"provider": scene.cast.op.name}, query=query)


@route("GET /oauth/{provider}/callback")
async def come_back(scene: Scene) -> Sent:
    url, _, browser = await scene.cast.back()
    return Sent(path={"provider": scene.cast.op.name}, query=query_of(url), cookies=browser.cookies)


@route("POST /oauth/exchange", "POST /me/identities")
async def by_code(scene: Scene) -> Sent:
    url, verifier, browser = await scene.cast.back()
    return Sent({"code": code_of(await browser.get(url)), "code_verifier": verifier})


@route("GET /verify for users:read")
async def require(scene: Scene) -> Sent:
    return Sent(query={"require": "users:read"})


# ---- one's own account ----------------------------------------------------------------------------------------------


@route("POST /logout", "POST /logout/all", understudy=True)
async def leave(scene: Scene) -> Sent:
    return Sent()


@route("PATCH /me")
async def rename(scene: Scene) -> Sent:
    return Sent({"full_name": "Ada"})


@route("PATCH /me with a new address")
async def move(scene: Scene) -> Sent:
    return Sent({"email": f"{new_name()}@example.org"})


@route("PATCH /me without an address")
async def without_address(scene: Scene) -> Sent:
    return Sent({"email": None})


@route("DELETE /me", "POST /me/reauthenticate", understudy=True)
async def by_password(scene: Scene) -> Sent:
    return Sent({"password": scene.person.password})


@route("POST /me/password", understudy=True)
async def change_password(scene: Scene) -> Sent:
    return Sent({"current_password": scene.person.password, "new_password": new_password()})


@route("DELETE /me/sessions/{session_id}", understudy=True)
@route("DELETE /me/sessions/{session_id} of another")
async def end_session(scene: Scene) -> Sent:
    return Sent(path={"session_id": (await scene.session()).id})


@route("POST /preferences", "PUT /preferences")
async def preferences(scene: Scene) -> Sent:
    return Sent({"theme": "dark"})


@route(
    "GET /preferences/{key}",
    "PUT /preferences/{key}",
    "DELETE /preferences/{key}",
    "GET /preferences/{key} of another",
    "DELETE /preferences/{key} of another",
)
async def preference(scene: Scene) -> Sent:
    session = await scene.session()
    key = "app.anothers" if scene.row.about else "app.own"
    if scene.is_let_in or scene.row.about:
        assert (await session.ask("PUT", f"/preferences/{key}", json=1)).status_code == 200
    return Sent(1 if scene.row.method == "PUT" else None, path={"key": key})


# ---- factors --------------------------------------------------------------------------------------------------------


@route("POST /me/mfa/totp/confirm", understudy=True)
async def confirm(scene: Scene) -> Sent:
    code = "000000"
    if scene.is_let_in and scene.caller.session is not None:
        made = await scene.caller.session.ask("POST", "/me/mfa/totp")
        code = Authenticator(made.json()["secret"]).code()
    return Sent({"code": code})


@route("POST /me/mfa/recovery-codes", understudy=True)
async def new_codes(scene: Scene) -> Sent:
    await scene.authenticator()
    return Sent({"password": scene.person.password})


@route("DELETE /me/mfa/totp", understudy=True)
async def remove_totp(scene: Scene) -> Sent:
    authenticator = await scene.authenticator()
    return Sent({"password": scene.person.password, "recovery_code": authenticator.codes[0]})


@route("POST /me/passkeys", understudy=True)
async def add_passkey(scene: Scene) -> Sent:
    asks = scene.caller.session if scene.is_let_in else None
    options = await registration_options(asks or await scene.cast.other("user", new=False))
    return Sent(Key().made(options))


@route(
    "PATCH /me/passkeys/{passkey_id}",
    "DELETE /me/passkeys/{passkey_id}",
    "PATCH /me/passkeys/{passkey_id} of another",
    "DELETE /me/passkeys/{passkey_id} of another",
)
async def own_passkey(scene: Scene) -> Sent:
    async with scene.cast.parts.db.transaction() as tx:  # what the service asks of who adds one is another row's
        row = await factors.add_passkey(
            tx,
            uuid7(),
            (await scene.session()).user_id,
            secrets.token_bytes(32),
            b"",
            0,
            name="Made",
            transports=[],
            backed_up=False,
        )
    assert row is not None
    return Sent({"name": "Renamed"} if scene.row.method == "PATCH" else None, path={"passkey_id": row["id"]})


@route("DELETE /me/identities/{identity_id}", "DELETE /me/identities/{identity_id} of another")
async def own_identity(scene: Scene) -> Sent:
    return Sent(path={"identity_id": await new_identity(scene, (await scene.session()).user_id)})


@route(
    *(f"DELETE /users/{{user_id}}/identities/{{identity_id}} {of}" for of in ("of another", "of himself")),
    "DELETE /users/{user_id}/identities/{identity_id} of an administrator",
)
async def identity(scene: Scene) -> Sent:
    user_id = (await scene.target()).user_id
    return Sent(path={"user_id": user_id, "identity_id": await new_identity(scene, user_id)})


async def new_identity(scene: Scene, user_id: int) -> UUID:
    said = {"username": None, "email": None}
    async with scene.cast.parts.db.transaction() as tx:
        row = await federation.add(tx, user_id, "sso", "https://op.example", secrets.token_hex(8), **said)
    assert row is not None
    identity_id: UUID = row["id"]
    return identity_id


# ---- administration -------------------------------------------------------------------------------------------------


@route("POST /users", "POST /users an administrator")
async def create(scene: Scene) -> Sent:
    return Sent({"username": new_name(), "password": new_password(), "is_admin": bool(scene.row.about)})


@route("POST /users/import")
async def import_one(scene: Scene) -> Sent:
    return Sent(lines=ndjson(new_line()))


@route("PATCH /users/{user_id} of himself")
@route("PATCH /users/{user_id} of another", "PATCH /users/{user_id} of an administrator")
async def change(scene: Scene) -> Sent:
    return Sent({"full_name": "Ada"}, path={"user_id": (await scene.target()).user_id})


@route("PATCH /users/{user_id} of another, to be an administrator")
async def promote(scene: Scene) -> Sent:
    return Sent({"is_admin": True}, path={"user_id": (await scene.target()).user_id})


@route("POST /roles of his own rights", "POST /roles of other rights")
async def create_role(scene: Scene) -> Sent:
    return Sent({"name": new_role_name(), "permissions": [asked_right(scene)]})


@route(
    "PATCH /roles/{name} of his own rights",
    "PATCH /roles/{name} of other rights",
    "PATCH /roles/{name} to be of other rights",
    "DELETE /roles/{name} of his own rights",
    "DELETE /roles/{name} of other rights",
)
async def role(scene: Scene) -> Sent:
    becomes = scene.row.about.startswith("to be")
    name = await new_role(scene.cast.parts, "roles:write" if becomes else asked_right(scene))
    change = {"add_permissions": ["audit:read"]} if becomes else {"description": "Helps."}
    return Sent(change if scene.row.method == "PATCH" else None, path={"name": name})


@route("PUT /users/{user_id}/roles of himself", understudy=True)
@route(
    "PUT /users/{user_id}/roles of another",
    "PUT /users/{user_id}/roles of an administrator",
    "PUT /users/{user_id}/roles of another, to other rights",
)
async def hand_out(scene: Scene) -> Sent:
    held = await new_role(scene.cast.parts, asked_right(scene))
    return Sent({"roles": [held]}, path={"user_id": (await scene.target()).user_id})


def asked_right(scene: Scene) -> str:
    """What a role allows: to hand out roles, or what nobody may but an administrator, and an auditor."""
    return "audit:read" if "other rights" in scene.row.about else "roles:write"


@route("POST /sessions/revoke")
async def revoke(scene: Scene) -> Sent:
    return Sent({"filter": {"user_id": (await scene.cast.other("user", new=False)).user_id, "ip": "192.0.2.1"}})


@route("DELETE /users/{user_id} of himself", "DELETE /sessions/{user_id} of himself", understudy=True)
@route(
    *(f"{method} /users/{{user_id}} {of}" for method in ("GET", "DELETE") for of in ("of another", "of himself")),
    *(f"GET /users/{{user_id}}/credentials {of}" for of in ("of another", "of himself")),
    *(f"{method} /sessions/{{user_id}} {of}" for method in ("GET", "DELETE") for of in ("of another", "of himself")),
    *(f"DELETE /users/{{user_id}}/mfa {of}" for of in ("of another", "of himself", "of an administrator")),
    *(f"DELETE /sessions/{{user_id}}/{{session_id}} {of}" for of in ("of another", "of an administrator")),
    *(f"POST /users/{{user_id}}/password-reset {of}" for of in ("of another", "of an administrator")),
    "DELETE /users/{user_id} of an administrator",
    "DELETE /sessions/{user_id} of an administrator",
)
async def about(scene: Scene) -> Sent:
    target = await scene.target()
    return Sent(path={"user_id": target.user_id, "session_id": target.id})
