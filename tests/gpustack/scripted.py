"""Answers as the real 2.3.0 was recorded to (recorded.json), and as outages, gateways and other versions do."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.gpustack.upstream import ADMIN_PASSWORD, PASSWORD, Outage
from tests.servers import free_port

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class Reply:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @classmethod
    def html(cls, status: int) -> "Reply":
        return cls(status, {"content-type": "text/html"}, HTML)


def recorded(name: str, **fields: object) -> Reply:
    """An answer of the real one, with these fields of its body as they are here."""
    found = RECORDED[name]
    body = found["body"] if not fields else {**found["body"], **fields}
    return Reply(found["status"], dict(found["headers"]), json.dumps(body).encode())


class Scripted:
    """A GPUStack of so many lines.

    `says` answers a path in the place of what GPUStack would (None: nothing is said, ever); `asked` is every request,
    with the name of a login; `at_once` is the most logins that were under way together.
    """

    def __init__(self, *, version: str = "v2.3.0", prefix: str = "/v2", lets_in_anybody: bool = False) -> None:
        self.key = "gpustack_1770678216b6e0d9_b0e5592ed5d276377752e568467249a6"
        self.users: dict[int, dict[str, Any]] = {}
        self.passwords: dict[int, str] = {}
        self.says: dict[str, Reply | None] = {}
        self.stumbles_over: set[str] = set()
        self.asked: list[str] = []
        self._as_new = (version, prefix, lets_in_anybody)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._logins = 0
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.begin_anew()
        return self

    async def begin_anew(self) -> None:
        """As on its first day."""
        for each in (self.users, self.passwords, self.says, self.stumbles_over, self.asked):
            each.clear()
        self.version, self.prefix, self.lets_in_anybody = self._as_new
        self.at_once = 0
        self.pause = 0.0  # seconds that a login takes
        self._next = 3
        await self.add("admin", password=ADMIN_PASSWORD, full_name="Default System Admin", is_admin=True)
        if self._server is None:
            await self.listen()

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for talk in list(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    # ---- as an administrator of it would ----------------------------------------------------------------------------

    async def add(
        self, username: str, *, password: str = PASSWORD, full_name: str | None = None, is_admin: bool = False
    ) -> int:
        user_id, self._next = self._next, self._next + 1
        self.users[user_id] = {
            **RECORDED["me"]["body"],
            "id": user_id,
            "username": username,
            "full_name": full_name,
            "is_admin": is_admin,
            "is_active": True,
        }
        self.passwords[user_id] = password
        return user_id

    async def change(self, user_id: int, **fields: object) -> None:
        self.passwords[user_id] = str(fields.pop("password", self.passwords[user_id]))
        self.users[user_id] |= fields

    async def remove(self, user_id: int) -> None:
        del self.users[user_id], self.passwords[user_id]

    @asynccontextmanager
    async def outage(self, kind: Outage) -> AsyncIterator[None]:
        if kind == "refused":
            await self.refuse()
        else:
            self.says[""] = None if kind == "hung" else recorded("database_away")
        try:
            yield
        finally:
            if kind == "refused":
                await self.listen()
            else:
                del self.says[""]

    def logins(self, username: str) -> int:
        return self.asked.count(f"POST /auth/login {username}")

    # ---- the server -------------------------------------------------------------------------------------------------

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._one(reader, writer)
        except asyncio.CancelledError:
            pass  # the server was stopped; asyncio's streams would print it
        finally:
            self._talks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        reply = await self._reply(method, target, headers, parse_qs(body.decode(), keep_blank_values=True))
        if reply is None:
            await reader.read()  # until the other side gives up
            return
        lines = [f"HTTP/1.1 {reply.status} -", *(f"{name}: {value}" for name, value in reply.headers.items())]
        writer.write("\r\n".join([*lines, f"content-length: {len(reply.body)}", "", ""]).encode() + reply.body)
        await writer.drain()

    async def _reply(
        self, method: str, target: str, headers: dict[str, str], form: dict[str, list[str]]
    ) -> Reply | None:
        path = urlsplit(target).path
        username = form.get("username", [""])[0]
        self.asked.append(f"{method} {path} {username}".strip())
        for spoken in ("", path):
            if spoken in self.says:
                return self.says[spoken]
        if path == "/version":
            return recorded("version", version=self.version)
        if path == "/auth/login":
            return await self._log_in(username, form.get("password", [""])[0])
        if path == f"{self.prefix}/users/me":
            return self._me(headers)
        if path.startswith(f"{self.prefix}/users"):
            return self._listed(target, headers)
        return recorded("no_route")

    def _listed(self, target: str, headers: dict[str, str]) -> Reply:
        if headers.get("authorization") != f"Bearer {self.key}":
            return recorded("unknown_key")
        parts = urlsplit(target)
        if parts.path == f"{self.prefix}/users":
            return self._page(parse_qs(parts.query))
        user = self.users.get(int(parts.path.rpartition("/")[2]))
        return recorded("user", **user) if user else recorded("no_user")

    async def _log_in(self, username: str, password: str) -> Reply:
        self._logins += 1
        self.at_once = max(self.at_once, self._logins)
        try:
            await asyncio.sleep(self.pause)
        finally:
            self._logins -= 1
        if username in self.stumbles_over:
            return recorded("database_away")
        found = [each for each in self.users.values() if each["username"] == username]
        if not found or self.passwords[found[0]["id"]] != password:
            return recorded("wrong_password")
        if not found[0]["is_active"]:
            return recorded("deactivated")
        reply = recorded("login")
        reply.headers["set-cookie"] = reply.headers["set-cookie"].replace("<session>", f"session-of-{found[0]['id']}")
        return reply

    def _me(self, headers: dict[str, str]) -> Reply:
        if headers.get("authorization") == f"Bearer {self.key}" or self.lets_in_anybody:
            return recorded("me", **self.users[3])
        _, _, number = headers.get("cookie", "").partition("gpustack_session=session-of-")
        user = self.users.get(int(number)) if number else None
        return recorded("me", **user) if user else recorded("unknown_key")

    def _page(self, query: dict[str, list[str]]) -> Reply:
        page, per_page = int(query["page"][0]), int(query["perPage"][0])
        assert query["sort_by"] == ["username"]  # else rows may be missing
        users = sorted(self.users.values(), key=lambda each: str(each["username"]))
        items = users[(page - 1) * per_page : page * per_page]
        pages = -(-len(users) // per_page)
        counted = {"page": page, "perPage": per_page, "total": len(users), "totalPage": pages}
        return recorded("users", items=items, pagination=counted)
