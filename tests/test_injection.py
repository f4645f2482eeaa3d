"""SQL where a text belongs: in every string of every request it is a text, wherever it ends up."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from httpx import AsyncClient, Response

from app.identity.accounts import create_first_admin
from app.parts import Parts
from tests.clients.kit import registered
from tests.conftest import ADMIN
from tests.errors.kit import answered
from tests.kit import SignedIn, from_ip, log_in, new_name, register
from tests.mail.kit import Postbox
from tests.replica import Replica, Start

ROOT = "https://auth.example.test"
SLEEP = "pg_sleep(20)"  # seconds: who looks every few milliseconds sees it for certain
PAYLOADS = [
    "' OR '1'='1",
    "' OR 1=1 --",
    '" OR ""="',
    "') OR ('1'='1' --",
    "x'; DROP TABLE users; --",
    "x'; INSERT INTO roles (name) VALUES ('injected'); --",
    "x'); UPDATE users SET username = 'injected'; --",
    "' UNION SELECT password_hash FROM users --",
    f"'; SELECT {SLEEP}; --",
    f"' || (SELECT {SLEEP}) || '",
    f"1 AND 1 = (SELECT 1 FROM {SLEEP})",
    f"1; SELECT {SLEEP}",
    "' AND 1 = CAST((SELECT version()) AS int) --",
    "\\'; SELECT 1; --",
    "$$; SELECT 1; $$",
    "$1",
    "%s %(x)s {0} :x",
    "*/ SELECT 1 /*",
    "\u02bc OR 1=1 --",  # a letter that becomes an apostrophe where text is folded
    "{'a': 1}::json->'a'",
]
INSIDE = re.compile(r"asyncpg|sqlalchemy|syntax error|PostgreSQL|pg_|SQLSTATE|relation|column|Traceback", re.IGNORECASE)
HEADERS = ("User-Agent", "X-Request-ID", "X-Forwarded-For", "Authorization", "Cookie", "Origin", "Accept-Language")
# Tables that no request of these adds to; what others may have is counted by what was answered.
STILL = (
    "signing_keys",
    "clients",
    "passkeys",
    "recovery_codes",
    "totp_secrets",
)


@dataclass(frozen=True)
class Place:
    """A string that a client writes, of an operation of the document."""

    method: str
    path: str
    where: str
    name: str
    said: dict[str, Any]
    body: Any = None
    media_type: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}: {self.where} {self.name}"

    async def ask(
        self, client: AsyncClient, text: str, bearer: dict[str, str], credentials: dict[str, str]
    ) -> Response:
        """As somebody who is signed in and, in a form, as a service that may ask about tokens."""
        path, query, headers = self.path, {}, {**from_ip(), **bearer}
        for parameter in self.said.get("parameters", []):
            value = text if (self.where, self.name) == (parameter["in"], parameter["name"]) else parameter["example"]
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", quote(str(value), safe=""))
            elif value == text:
                query[parameter["name"]] = value
        if self.where == "header":
            headers[self.name] = f"Bearer {text}" if self.name == "Authorization" else text
        content: dict[str, Any] = {}
        if self.media_type == "application/json":
            content = {"content": json.dumps(put(self.body, self.name, text) if self.where == "body" else self.body)}
            headers["Content-Type"] = self.media_type
        elif self.media_type:
            content = {"data": {**self.body, **credentials, self.name: text}}
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        return await client.request(self.method, ROOT + path, params=query, headers=sent, **content)


def put(body: Any, name: str, text: str) -> Any:
    """The body with this text at the place of this name: `a.0.b`."""
    head, _, rest = name.partition(".")
    if isinstance(body, list):
        return [put(each, rest, text) if rest else text for each in body]
    return {**body, head: put(body.get(head), rest, text) if rest else text}


def places(document: dict[str, Any]) -> Iterator[Place]:
    for path, operations in document["paths"].items():
        for method, said in operations.items():
            for parameter in said.get("parameters", []):
                yield Place(method.upper(), path, parameter["in"], parameter["name"], said)
            for media_type, content in said.get("requestBody", {}).get("content", {}).items():
                bodies = [example["value"] for example in content["examples"].values()]
                names = {name: body for body in bodies if isinstance(body, dict) for name in texts(body)}
                schema = document["components"]["schemas"].get(content["schema"].get("$ref", "").rpartition("/")[2], {})
                names |= {name: bodies[0] for name in schema.get("properties", {}) if name not in names}
                for name, body in names.items():
                    yield Place(method.upper(), path, "body", name, said, body, media_type)
    for name in HEADERS:
        yield Place("GET", "/api/auth/v2/me/sessions", "header", name, {})
        yield Place(
            "POST", "/api/auth/v2/login", "header", name, {}, {"username": "x", "password": "x"}, "application/json"
        )


def texts(body: dict[str, Any]) -> Iterator[str]:
    """Where in a body there are texts."""
    for name, value in body.items():
        if isinstance(value, str):
            yield name
        elif isinstance(value, dict):
            yield from (f"{name}.{below}" for below in texts(value))
        elif isinstance(value, list):
            yield f"{name}.0"


@asynccontextmanager
async def watched(url: str) -> AsyncGenerator[list[str]]:
    """The statements in which this database has slept meanwhile."""
    seen: list[str] = []
    connection = await asyncpg.connect(url)

    async def look() -> None:
        while True:
            query = "SELECT query FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
            seen.extend(row["query"] for row in await connection.fetch(query))
            await asyncio.sleep(0.02)

    watch = asyncio.create_task(look())
    try:
        yield seen
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await connection.close()


async def rows(parts: Parts) -> Counter[str]:
    """How many there are in each table."""
    tables = await parts.db.fetch("SELECT relname FROM pg_stat_user_tables WHERE relname NOT LIKE 'audit_events%'")
    counts = [f"SELECT '{row['relname']}' AS name, count(*) AS rows FROM {row['relname']}" for row in tables]
    return Counter({row["name"]: row["rows"] for row in await parts.db.fetch(" UNION ALL ".join(counts))})


@pytest.fixture
async def house(start: Start, postbox: Postbox) -> Replica:
    limits = dict.fromkeys(("login", "mfa", "account", "register", "forgot"))
    settings = {f"rate_limit_{name}": value for name, value in limits.items()}
    replica = await start(smtp_url=postbox.url, mail_from="Gatehouse <no-reply@example.test>", **settings)
    await create_first_admin(replica.parts.db, replica.parts.passwords, ADMIN.username, ADMIN.password)
    return replica


async def test_the_watch_sees_a_sleep(own_database: str) -> None:
    async with watched(own_database) as slept:
        connection = await asyncpg.connect(own_database)
        await connection.execute("SELECT pg_sleep(0.5)")
        await connection.close()

    assert slept


async def test_sql_in_any_string_of_any_request_is_a_text(house: Replica) -> None:
    client, parts = house.client, house.parts
    admin = await log_in(client, ADMIN)
    service = await registered(client, parts)
    document = (await client.get(f"{ROOT}/openapi.json")).json()
    everywhere = list(places(document))
    before = await rows(parts)
    statuses: Counter[tuple[str, int]] = Counter()

    async with watched(parts.settings.database_url) as slept:
        for place in everywhere:
            for payload in PAYLOADS:
                bearer = {} if place.path.endswith("/logout") else admin.bearer  # which would end
                answer = await place.ask(client, payload, bearer, service.form)
                statuses[f"{place.method} {place.path}", answer.status_code] += 1
                assert answer.status_code < 500, (str(place), payload, answer.text)
                if answer.content:
                    answered(answer)
                if answer.status_code >= 400:
                    assert not INSIDE.search(answer.text), (str(place), payload, answer.text)

    after = await rows(parts)
    made = statuses["POST /api/auth/v2/register", 201] + statuses["POST /api/auth/v2/users", 201]
    assert len(everywhere) > 60
    assert slept == []
    assert set(after) == set(before)
    assert after["users"] == before["users"] + made
    made = statuses["POST /api/auth/v2/roles", 201]  # each of one permission
    for table in ("roles", "permissions", "role_permissions"):
        assert after[table] == before[table] + made
    assert {name: after[name] for name in STILL} == {name: before[name] for name in STILL}
    assert (await admin.ask("GET", "/me")).json()["username"] == ADMIN.username


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_sql_that_may_be_kept_comes_back_as_it_was_sent_and_is_found_by_itself_alone(
    client: AsyncClient, admin: SignedIn, payload: str
) -> None:
    with_it, without = await log_in(client, await register(client)), await log_in(client, await register(client))

    changed = await with_it.ask("PATCH", "/me", json={"full_name": payload})
    kept = await with_it.ask("PUT", "/preferences/a.b", json={payload: [payload]})
    found = await admin.ask("GET", "/users", params={"search": payload, "page_size": 200})
    named = await log_in(client, await register(client), device_name=payload)
    devices = await admin.ask("GET", "/sessions", params={"device": payload, "page_size": 200})

    assert changed.json()["full_name"] == payload
    assert kept.json() == {payload: [payload]}
    assert with_it.user_id in (ids := [item["id"] for item in found.json()["items"]])
    assert without.user_id not in ids
    assert {item["full_name"] for item in found.json()["items"]} == {payload}
    assert named.id in [item["id"] for item in devices.json()["items"]]
    assert {item["device_name"] for item in devices.json()["items"]} == {payload}


@pytest.mark.parametrize("wildcard", ["%", "_", "\\", "\\%", "%_"])
async def test_wildcards_in_a_search_for_devices_are_taken_at_their_word(
    client: AsyncClient, admin: SignedIn, wildcard: str
) -> None:
    word = new_name("device")
    with_it = await log_in(client, await register(client), device_name=f"{word}{wildcard}z")
    await log_in(client, await register(client), device_name=f"{word}xyz")

    found = await admin.ask("GET", "/sessions", params={"device": f"{word}{wildcard}z"})

    assert [item["id"] for item in found.json()["items"]] == [with_it.id]
