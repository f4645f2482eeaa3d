"""Answers of a provider's endpoints that are of no use; each is as if the provider were away."""

import gzip
from collections.abc import Callable

from tests.federation.provider import Told, instead, with_fields
from tests.federation.server import Asked, Reply, endless, json, redirect

HTML = {"Content-Type": "text/html; charset=utf-8"}
JSON = {"Content-Type": "application/json"}


def of(content: bytes, status: int = 200, **headers: str) -> Told:
    return instead(Reply(status, JSON | {name.replace("_", "-"): value for name, value in headers.items()}, content))


def with_the_right_body(status: int = 200, **headers: str) -> Told:
    """What would be right, but for these."""

    async def tell(_: Asked, right: Reply) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Reply(status, right.headers | named, right.content)

    return tell


def huge() -> Told:
    async def tell(_: Asked, right: Reply) -> Reply:
        return Reply(200, JSON, endless(b" " * 65_536))

    return tell


def packed() -> Told:
    """A gigabyte of it would be a megabyte; we do not unpack what we have not asked for."""

    async def tell(_: Asked, right: Reply) -> Reply:
        assert isinstance(right.content, bytes)
        return Reply(200, JSON | {"Content-Encoding": "gzip"}, gzip.compress(right.content))

    return tell


def cut_off() -> Told:
    async def tell(_: Asked, right: Reply) -> Reply:
        assert isinstance(right.content, bytes)
        return Reply(200, JSON | {"Content-Length": str(len(right.content) + 10)}, right.content)

    return tell


# Of any endpoint; `elsewhere` is the URL of somebody whom nobody is to ask.
ANYWHERE: dict[str, Callable[[str], Told]] = {
    "without an end": lambda _: huge(),
    "half a megabyte": lambda _: with_fields(padding="x" * 500_000),
    "301": lambda elsewhere: instead(Reply(301, {"Location": elsewhere})),
    "302": lambda elsewhere: instead(redirect(elsewhere)),
    "307": lambda elsewhere: instead(Reply(307, {"Location": elsewhere})),
    "303 to where it is": lambda _: with_the_right_body(303, Location="?"),
    "HTML": lambda _: instead(Reply(200, HTML, b"<script>alert(1)</script>")),
    "JSON as HTML": lambda _: with_the_right_body(Content_Type="text/html"),
    "JSON as text": lambda _: with_the_right_body(Content_Type="text/plain"),
    "of no type": lambda _: with_the_right_body(Content_Type=""),
    "500": lambda _: instead(Reply(500, HTML, b"<h1>Internal Server Error</h1>")),
    "500 with what is right": lambda _: with_the_right_body(500),
    "502": lambda _: instead(Reply(502)),
    "404": lambda _: instead(Reply(404, HTML, b"not here")),
    "403": lambda _: instead(json({"error": "forbidden"}, 403)),
    "429": lambda _: instead(Reply(429, {"Retry-After": "5"})),
    "204": lambda _: instead(Reply(204)),
    "206": lambda _: with_the_right_body(206),
    "nothing": lambda _: of(b""),
    "a list": lambda _: of(b"[]"),
    "null": lambda _: of(b"null"),
    "text": lambda _: of(b'"x"'),
    "no JSON": lambda _: of(b"{'a': 1}"),
    "half of it": lambda _: of(b'{"keys": ['),
    "no UTF-8": lambda _: of(b'{"issuer": "\xff", "keys": "\xff", "sub": "\xff", "id_token": "\xff"}'),
    "UTF-16": lambda _: of('{"a": 1}'.encode("utf-16")),
    "deep": lambda _: of(b"[" * 100_000 + b"]" * 100_000),
    "packed": lambda _: packed(),
    "cut off": lambda _: cut_off(),
}

# Of the token endpoint alone.
TOKENS: dict[str, Told] = {
    "401": instead(json({"error": "invalid_client"}, 401)),
    "an error with 200": instead(json({"error": "server_error", "error_description": "<b>no</b>"})),
    "400 for another reason": instead(json({"error": "unauthorized_client"}, 400)),
    "400 in HTML": instead(Reply(400, HTML, b"<script>alert(1)</script>")),
    "400 with a list": instead(json([], 400)),
    "400 with a word of its own": instead(json({"error": "x" * 500 + "\r\nX: y"}, 400)),
    "an ID token that is null": with_fields(id_token=None),
    "an ID token that is a number": with_fields(id_token=1),
    "an ID token in a list": with_fields(id_token=["a.b.c"]),
    "an access token in an object": with_fields(access_token={}),
}
