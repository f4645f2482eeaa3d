"""A service to be fuzzed: a real server with stores, a mailbox and an administrator of its own, all RATE_LIMIT off."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from httpx import Client

from app.cli import first_admin
from app.cli.embedded import Postgres, Valkey
from app.clients.structs import NewClient
from app.identity.accounts import create_admin
from app.request import FORM
from app.settings import Settings
from db import schema
from tests.kit import BASE, from_ip, new_name, new_password
from tests.mail.kit import PATIENCE, Postbox, serving_in_a_thread
from tests.replica import serving as application
from tests.replica import settings_for
from tests.servers import Servers, without_limits

LINK = re.compile(r"/([a-z-]+)\?token=([\w-]+)")


@dataclass
class Guest:
    """Somebody who is signed in, and what he has to show."""

    username: str
    password: str
    email: str | None
    body: dict[str, Any]  # of his login

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.body['access_token']}"}


class House:
    """Speaks to the server, and makes people."""

    def __init__(self, settings: Settings, postbox: Postbox, root: str, log: Path, service: NewClient) -> None:
        self.root = root  # the server's URL
        self.service = {"client_id": service.client_id, "client_secret": service.client_secret}
        self.settings = settings
        self.postbox = postbox
        self.log = log
        self.client = Client(base_url=root, timeout=30)

    def ask(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        headers = {**from_ip(), **kwargs.pop("headers", {})}
        return self.client.request(method, BASE + path, headers=headers, **kwargs)

    def introspect(self, token: str) -> httpx.Response:
        """What another service is told of a token."""
        form = urlencode({"token": token.encode("utf-8", "surrogatepass"), **self.service})
        return self.ask("POST", "/introspect", content=form, headers={"Content-Type": FORM})

    def user(self) -> Guest:
        """Somebody new."""
        username, password, email = new_name(), new_password(), f"{new_name()}@example.org"
        answer = self.ask("POST", "/register", json={"username": username, "password": password, "email": email})
        assert answer.status_code == 201, answer.text
        return self.signed_in(username, password, email)

    def signed_in(self, username: str, password: str, email: str | None = None) -> Guest:
        answer = self.ask("POST", "/login", json={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        return Guest(username, password, email, answer.json())

    def new_admin(self) -> tuple[str, str]:
        """Name and password of one more administrator, made past the API: whoever is fuzzed cannot prevent it."""
        username, password = new_name("admin"), new_password()
        asyncio.run(self._make_admin(username, password))
        return username, password

    async def _make_admin(self, username: str, password: str) -> None:
        async with first_admin.means(self.settings) as (db, passwords):
            await create_admin(db, passwords, username, password)

    def links(self, page: str) -> list[str]:
        """The tokens of all links to this page that were mailed, oldest first."""
        texts = [mail.part("plain") for mail in list(self.postbox.mails)]
        return [token for text in texts for found, token in LINK.findall(text) if found == page]

    def link(self, page: str, address: str) -> str:
        """The token of the link to this page that was mailed to this address, once it has come."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            for mail in self.postbox.of(address):
                for found, token in LINK.findall(mail.part("plain")):
                    if found == page:
                        return str(token)
            time.sleep(0.02)
        raise TimeoutError(page)

    def faults(self) -> list[str]:
        """What the server has logged as its own errors."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if '"level":"error"' in line]


@asynccontextmanager
async def in_the_house(directory: Path) -> AsyncGenerator[House]:
    with Postgres(directory / "postgres", settings=["fsync=off", "shared_buffers=64MB"]) as postgres:
        await schema.upgrade(postgres.url())
        async with serving(directory, postgres.url()) as house:
            yield house


@asynccontextmanager
async def serving(directory: Path, database_url: str) -> AsyncGenerator[House]:
    """On this database, and all else of its own."""
    with Valkey(directory / "valkey") as valkey, serving_in_a_thread(Postbox()) as postbox:
        settings = replace(
            without_limits(settings_for(database_url, valkey.url)),
            smtp_url=postbox.url,
            mail_from="Gatehouse <no-reply@example.test>",
        )
        async with application(settings) as replica:
            service = await replica.parts.clients.add("fuzz")
        async with Servers(settings, directory, 1) as servers:
            root = str(servers.clients[0].base_url.copy_with(path="/")).rstrip("/")
            house = House(settings, postbox, root, directory / "replica-0.log", service)
            try:
                yield house
            finally:
                house.client.close()
