"""Where mail goes in development without a server: to the console, with its links."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from typing import Self

RULE = "-" * 72


class Console:
    """Prints each letter's text on stderr."""

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Self]:
        yield self

    async def send(self, recipient: str, message: bytes) -> None:
        read = message_from_bytes(message, policy=policy.default)
        text = next(part.get_content() for part in read.walk() if part.get_content_type() == "text/plain")
        lines = [RULE, f"To: {recipient}", f"Subject: {read['Subject']}", "", *text.splitlines(), RULE, ""]
        sys.stderr.write("\n".join(lines))
        sys.stderr.flush()
