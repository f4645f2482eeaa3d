"""One's passkeys: made in the browser, named, taken away."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK

from app.console.factors import FACTORS
from app.console.forms import Form
from app.console.own import one_of
from app.console.visit import Visit
from app.errors import AppError, MalformedRequest, ValidationFailed
from app.identity.passkeys import Passkey, PasskeyRegistration, PasskeyRenaming, Passkeys
from app.problems import convert
from app.reading import decode
from app.sessions.caller import Caller

ADD, ONE, REMOVE = (f"account/{name}.html" for name in ("passkey_new", "passkey", "passkey_remove"))
NO_PASSKEY = ("response", "is no passkey")  # the page says it in words of its own


async def provide_passkey(passkey_id: FromPath[UUID], caller: Caller, passkeys: NamedDependency[Passkeys]) -> Passkey:
    """Dependency `passkey`: the caller's own of the path; NotFound where he has no such one."""
    return one_of(await passkeys.all_of(caller.user_id), passkey_id)


OWN = {"passkey": Provide(provide_passkey)}


def made(form: Form) -> dict[str, Any]:
    """What the script has put into the form: the browser's JSON, and beside it the name.

    Raises:
        ValidationFailed: there is none.
    """
    try:
        said = decode(form.get("credential", "").encode())
    except MalformedRequest:
        raise ValidationFailed(NO_PASSKEY) from None
    if not isinstance(said, dict):
        raise ValidationFailed(NO_PASSKEY)
    return {**said, **form.given("name")}


class PasskeyPages(Controller):
    path = "/account/factors/passkeys"
    dependencies = OWN

    @get("/new")
    async def before(
        self, visit: NamedDependency[Visit], caller: Caller, passkeys: NamedDependency[Passkeys]
    ) -> Response[bytes]:
        return visit.page(ADD, options=_text(await passkeys.options(caller)))

    @post("/new", status_code=HTTP_200_OK)
    async def add(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        passkeys: NamedDependency[Passkeys],
    ) -> Response[bytes]:
        try:
            await passkeys.add(caller, convert(made(form), PasskeyRegistration), visit.client)
        except AppError as refused:
            return visit.again(ADD, refused, form, options=_text(await passkeys.options(caller)))
        return visit.go(FACTORS, "passkey-added")

    @get("/{passkey_id:uuid}")
    async def one(self, visit: NamedDependency[Visit], passkey: NamedDependency[Passkey]) -> Response[bytes]:
        return visit.page(ONE, passkey=passkey)

    @post("/{passkey_id:uuid}", status_code=HTTP_200_OK)
    async def rename(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        passkey: NamedDependency[Passkey],
        passkeys: NamedDependency[Passkeys],
    ) -> Response[bytes]:
        try:
            await passkeys.rename(caller, passkey.id, convert(form.given("name"), PasskeyRenaming).name)
        except AppError as refused:
            return visit.again(ONE, refused, form, passkey=passkey)
        return visit.go(FACTORS, "passkey-renamed")

    @get("/{passkey_id:uuid}/remove")
    async def before_removal(
        self, visit: NamedDependency[Visit], caller: Caller, passkey: NamedDependency[Passkey]
    ) -> Response[bytes]:
        caller.require_fresh()
        return visit.page(REMOVE, passkey=passkey)

    @post("/{passkey_id:uuid}/remove", status_code=HTTP_200_OK)
    async def remove(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        passkey: NamedDependency[Passkey],
        passkeys: NamedDependency[Passkeys],
    ) -> Response[bytes]:
        try:
            await passkeys.remove(caller, passkey.id, visit.client)
        except AppError as refused:
            return visit.again(REMOVE, refused, form, passkey=passkey)
        return visit.go(FACTORS, "passkey-removed")


def _text(options: dict[str, Any]) -> str:
    return msgspec.json.encode(options).decode()
