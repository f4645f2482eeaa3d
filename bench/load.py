"""The load that wrk cannot make: logins from many addresses, and chains of refreshes."""

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.stack import refuse

_addresses = itertools.count(1)


@dataclass
class Person:
    username: str
    password: str
    access_token: str = ""
    refresh_token: str = ""

    def take(self, answer: bytes) -> None:
        """The tokens of a login or a refresh."""
        body = json.loads(answer)
        self.access_token, self.refresh_token = body["access_token"], body["refresh_token"]


class Connection:
    """One keep-alive connection with just enough HTTP/1.1: the load must not be what is measured."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    async def open(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        return self

    async def post(
        self, path: str, body: Mapping[str, object], address: int | None = None, token: str = ""
    ) -> tuple[int, bytes]:
        """From an address that nobody has used, or from the one of this number."""
        content = json.dumps(body).encode()
        number = next(_addresses) if address is None else address
        head = (
            f"POST {self._url.path}{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"X-Forwarded-For: 100.{64 + (number >> 16) % 64}.{(number >> 8) & 255}.{number & 255}\r\n"
            f"Content-Length: {len(content)}\r\n"
        )
        head += f"Authorization: Bearer {token}\r\n\r\n" if token else "\r\n"
        return await self._ask(head.encode() + content)

    async def get(self, path: str, token: str) -> tuple[int, bytes]:
        head = f"GET {self._url.path}{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        return await self._ask(head.encode())

    async def page(self, path: str, cookies: str) -> tuple[int, bytes]:
        return await self._ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n".encode())

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        self._writer.write(request)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        return int(answer[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


async def sign_in(url: str, number: int) -> list[Person]:
    """So many people, registered and signed in."""
    connection = await Connection(url).open()
    people = []
    for each in range(number):
        person = Person(f"user-{each}-{secrets.token_hex(3)}", f"{secrets.token_urlsafe(12)}-Zebra")
        status, answer = await connection.post("/register", {"username": person.username, "password": person.password})
        if status != 201:  # noqa: PLR2004 - created
            refuse(f"register answers {status}: {answer.decode()}")
        await login(connection, person)
        people.append(person)
    connection.close()
    return people


async def login(connection: Connection, person: Person, address: int | None = None) -> None:
    said = {"username": person.username, "password": person.password}
    status, answer = await connection.post("/login", said, address)
    if status != 200:  # noqa: PLR2004 - ok
        refuse(f"login answers {status}: {answer.decode()}")
    person.take(answer)


async def refresh(connection: Connection, person: Person) -> None:
    status, answer = await connection.post("/refresh", {"refresh_token": person.refresh_token})
    if status != 200:  # noqa: PLR2004 - ok
        refuse(f"refresh answers {status}: {answer.decode()}")
    person.take(answer)


async def logins(url: str, people: list[Person], connections: int, seconds: float) -> float:
    return await _rate(url, people, connections, seconds, login)


async def refreshes(url: str, people: list[Person], connections: int, seconds: float) -> float:
    return await _rate(url, people, connections, seconds, refresh)


async def _rate(
    url: str,
    people: list[Person],
    connections: int,
    seconds: float,
    act: Callable[[Connection, Person], Awaitable[None]],
) -> float:
    """How often a second it is done by as many connections, each with a person of its own."""
    opened = [await Connection(url).open() for _ in range(connections)]
    until = time.perf_counter() + seconds
    done = 0

    async def go_on(connection: Connection, person: Person) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await act(connection, person)
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(go_on(connection, person) for connection, person in zip(opened, people, strict=False)))
    rate = done / (time.perf_counter() - started)
    for connection in opened:
        connection.close()
    return rate
