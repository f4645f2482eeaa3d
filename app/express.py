"""The short way: what is asked most is answered at the edge.

Litestar's routing, middleware and injection cost as much as all that `/me`, `/verify` and `/refresh` have to do, and a
login has to be quick beside a hash; they are right for every other route (docs/decisions/0002-short-way.md).
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from litestar.types import Receive, Scope, Send

Answered: TypeAlias = tuple[list[tuple[bytes, bytes]], bytes]  # headers and body of a 200
# The str is the request's id; raises AppError.
Express: TypeAlias = Callable[[Scope, str, Receive], Awaitable[Answered]]


async def send_answer(answered: Answered, send: Send) -> None:
    headers, body = answered
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
