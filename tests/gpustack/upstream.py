"""What the tests want of a GPUStack, be it scripted or real."""

from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

ADMIN_PASSWORD = "Probe-Admin-1!"
PASSWORD = "Zebra-stripes-7!"  # of everybody, unless said otherwise: it asks for letters, a digit and a mark

Outage = Literal["refused", "hung", "broken"]


class Upstream(Protocol):
    url: str
    key: str  # of its administrator `admin`

    async def add(
        self, username: str, *, password: str = PASSWORD, full_name: str | None = None, is_admin: bool = False
    ) -> int:
        """A new user's id."""

    async def change(self, user_id: int, **fields: object) -> None:
        """`username`, `full_name`, `is_admin`, `is_active`, `password`."""

    async def remove(self, user_id: int) -> None: ...

    def outage(self, kind: Outage) -> AbstractAsyncContextManager[None]:
        """It refuses connections, accepts and says nothing, or has lost its database."""
