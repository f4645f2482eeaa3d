"""The routes of preferences: a document, and its single values."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, MediaType, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from msgspec import Meta

from app.errors import MalformedRequest, NotFound, ValidationFailed
from app.preferences.service import Document, Preferences
from app.preferences.structs import KEY_PATTERN, Known
from app.request import Request
from app.sessions.caller import Caller

# what the API document says of bodies and answers, which are read and written here without a Struct
DOCUMENT = {"application/json": Known}
VALUE = {"application/json": Any}

Key = Annotated[
    str, Meta(description="A known key, or one of the client's own.", extra_json_schema={"pattern": KEY_PATTERN})
]

_decode_document = msgspec.json.Decoder(Document).decode


async def document(request: Request) -> Document:
    """The object in the body."""
    try:
        return _decode_document(await value(request))
    except msgspec.ValidationError:
        raise ValidationFailed(("body", "has to be an object of keys and values")) from None


async def value(request: Request) -> msgspec.Raw:
    """The JSON value in the body, as it was written: `null` is one, nothing is none."""
    body = await request.body()
    if not body:
        raise MalformedRequest("A JSON body is needed.")
    await request.json()  # which refuses whatever is no JSON
    return msgspec.Raw(body.strip())


def answer(found: Document | msgspec.Raw) -> Response[Any]:
    return Response(msgspec.json.encode(found), media_type=MediaType.JSON, status_code=HTTP_200_OK)


class PreferencesController(Controller):
    tags = ("preferences",)
    path = "/preferences"

    @get(operation_id="get_preferences", summary="My preferences", answers={HTTP_200_OK: Known})
    async def all(self, caller: Caller, preferences: NamedDependency[Preferences]) -> Response[dict[str, Any]]:
        """The whole object; empty as long as nothing was kept."""
        return answer(await preferences.all_of(caller.user_id))

    @post(
        status_code=HTTP_200_OK,
        operation_id="merge_preferences",
        summary="Merge into my preferences",
        body=DOCUMENT,
        answers={HTTP_200_OK: Known},
    )
    async def merge(
        self, request: Request, caller: Caller, preferences: NamedDependency[Preferences]
    ) -> Response[dict[str, Any]]:
        """Puts these keys beside the others, all of them or none; answers the whole object.

        At most 100 keys a user, 16 KiB a value, 256 KiB together; `null` is a value like any other.
        """
        return answer(await preferences.merge(caller.user_id, await document(request)))

    @put(
        operation_id="replace_preferences",
        summary="Replace my preferences",
        body=DOCUMENT,
        answers={HTTP_200_OK: Known},
    )
    async def replace(
        self, request: Request, caller: Caller, preferences: NamedDependency[Preferences]
    ) -> Response[dict[str, Any]]:
        """What is not named is gone; answers the whole object."""
        return answer(await preferences.replace(caller.user_id, await document(request)))

    @get("/{key:str}", operation_id="get_preference", summary="One preference", errors=(NotFound,))
    async def one(self, key: FromPath[Key], caller: Caller, preferences: NamedDependency[Preferences]) -> Response[Any]:
        """The value under a key."""
        return answer(await preferences.one_of(caller.user_id, key))

    @put("/{key:str}", operation_id="set_preference", summary="Set one preference", body=VALUE, errors=(NotFound,))
    async def put_one(
        self, key: FromPath[Key], request: Request, caller: Caller, preferences: NamedDependency[Preferences]
    ) -> Response[Any]:
        """Any JSON value, but for the known keys; answers the value as it is kept. A slash in a key is no resource."""
        whole = await preferences.merge(caller.user_id, {key: await value(request)})
        return answer(whole[key])

    @delete(
        "/{key:str}",
        status_code=HTTP_204_NO_CONTENT,
        operation_id="delete_preference",
        summary="Forget one preference",
        errors=(NotFound,),
    )
    async def delete_one(self, key: FromPath[Key], caller: Caller, preferences: NamedDependency[Preferences]) -> None:
        """Removes a key and its value."""
        await preferences.delete(caller.user_id, key)
