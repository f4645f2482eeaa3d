"""What no answer may repeat, bodies that cannot be read, and what every answer has."""

import re
from typing import Any

from httpx import Response

from tests.kit import problem

CANARY = "cAnArY-5f0c7d1e"


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


UNREADABLE: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \n",
    "cut off": b'{"username": "' + CANARY.encode(),
    "no JSON": CANARY.encode(),
    "a name twice": b'{"username": "x", "username": "y", "password": "x"}',
    "a name twice, written in two ways": rb'{"username": "x", "\u0075sername": "y", "password": "x"}',
    "a name twice, deep in it": b'{"a": [{"b": {"c:": 1, "d": ":", "d": 2}}]}',
    "a comma too many": b'{"username": "x",}',
    "no UTF-8": b'{"username": "\xff\xfe"}',
    "a lone surrogate": rb'{"username": "\ud800", "password": "x"}',
    "half a surrogate": rb'{"username": "\udc00x", "password": "x"}',
    "NUL": rb'{"username": "a\u0000b", "password": "x"}',
    "NUL behind a backslash": rb'{"username": "a\\\u0000b", "password": "x"}',
    "NUL in a name": rb'{"user\u0000name": "x"}',
    "a raw control character": b'{"username": "a\x00b"}',
    "NaN": b'{"username": NaN}',
    "a number beyond numbers": b'{"username": 1e999}',
    "65 levels": nested(65),
    "5,000 levels": nested(5_000),
    "100,000 levels": nested(100_000),
    "100,000 levels without an end": b'{"a":' * 100_000,
}


def answered(answer: Response) -> dict[str, Any] | None:
    """What every answer has; the problem, if it is one."""
    assert answer.status_code < 500, answer.text
    headers = answer.headers
    assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"]
    if answer.status_code < 400:
        return None
    body = problem(answer, answer.status_code, answer.json()["code"])
    assert re.fullmatch(r"[a-z][a-z_]+", body["code"])
    assert body["type"] == f"urn:gatehouse:problem:{body['code']}"
    assert headers["cache-control"] == "no-store"
    assert CANARY.lower() not in answer.text.lower(), answer.text
    assert not any(CANARY.lower() in value.lower() for value in headers.values())
    return body
