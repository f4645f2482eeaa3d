"""The routes of preferences: a document, and its single values."""

from typing import Any

import msgspec
from litestar import Controller, MediaType, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT

from app.errors import MalformedRequest, ValidationFailed
from app.preferences.service import Document, Preferences
from app.request import Request
from app.sessions.caller import Caller


async def document(request: Request) -> dict[str, Any]:
    """The object in the body."""
    sent = await value(request)
    if not isinstance(sent, dict):
        raise ValidationFailed(("body", "has to be an object of keys and values"))
    return sent


async def value(request: Request) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value in the body: `null` is one, nothing is none."""
    if not await request.body():
        raise MalformedRequest("A JSON body is needed.")
    return await request.json()


def answer(found: Document | msgspec.Raw) -> Response[Any]:
    return Response(msgspec.json.encode(found), media_type=MediaType.JSON, status_code=HTTP_200_OK)


class PreferencesController(Controller):
    tags = ("preferences",)
    path = "/preferences"

    @get(summary="My preferences")
    async def all(self, caller: Caller, preferences: NamedDependency[Preferences]) -> Response[dict[str, Any]]:
        return answer(await preferences.all_of(caller.user_id))

    @post(status_code=HTTP_200_OK, summary="Merge into my preferences")
    async def merge(
        self, request: Request, caller: Caller, preferences: NamedDependency[Preferences]
    ) -> Response[dict[str, Any]]:
        """All or nothing; answers the whole object."""
        return answer(await preferences.merge(caller.user_id, await document(request)))

    @put(summary="Replace my preferences")
    async def replace(
        self, request: Request, caller: Caller, preferences: NamedDependency[Preferences]
    ) -> Response[dict[str, Any]]:
        return answer(await preferences.replace(caller.user_id, await document(request)))

    @get("/{key:str}", summary="One preference")
    async def one(self, key: FromPath[str], caller: Caller, preferences: NamedDependency[Preferences]) -> Response[Any]:
        return answer(await preferences.one_of(caller.user_id, key))

    @put("/{key:str}", summary="Set one preference")
    async def put_one(
        self, key: FromPath[str], request: Request, caller: Caller, preferences: NamedDependency[Preferences]
    ) -> Response[Any]:
        """Answers the value as it is kept."""
        whole = await preferences.merge(caller.user_id, {key: await value(request)})
        return answer(whole[key])

    @delete("/{key:str}", status_code=HTTP_204_NO_CONTENT, summary="Forget one preference")
    async def delete_one(self, key: FromPath[str], caller: Caller, preferences: NamedDependency[Preferences]) -> None:
        await preferences.delete(caller.user_id, key)
