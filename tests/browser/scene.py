"""A service with people in it, as it is shown and walked through: some who look pleasant, some who mean harm."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pyotp
from playwright.async_api import Browser, BrowserContext, Page, Response, StorageState

from app import providers
from app.cli import first_admin
from app.settings import Settings
from tests.browser.console_pages import ADMIN, GUARDED, NOBODY, USER, Listed
from tests.kit import Person, SignedIn, from_ip, log_in
from tests.servers import Servers, without_limits

ROOT = Person(1, "root", "plum-Tractor-84-lantern")
PASSWORD = "marble-Kettle-59-orchard"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
PEOPLE = (
    ("ada", "Ada Lovelace", ("editor", "reviewer")),
    ("grace", "Grace Hopper", ("editor",)),
    ("alan", "Alan Turing", ("reviewer",)),
    ("katherine", "Katherine Johnson", ("editor",)),
    ("edsger", "Edsger Dijkstra", ()),
    ("barbara", "Barbara Liskov", ("support",)),
    ("donald", "Donald Knuth", ()),
    ("hedy", "Hedy Lamarr", ()),
    ("margaret", "Margaret Hamilton", ("support",)),
    ("dennis", "Dennis Ritchie", ()),
    ("radia", "Radia Perlman", ("reviewer",)),
    ("john", "John Backus", ()),
)
ROLES = (
    ("editor", "Writes and publishes articles", ["articles:read", "articles:write"]),
    ("reviewer", "Reads drafts and comments on them", ["articles:read"]),
    ("support", "Helps people back into their accounts", ["users:read", "sessions:read", "audit:read"]),
)
# A month's sign-ins, more by day than by night, fewer at weekends; some go wrong.
HISTORY = """
    INSERT INTO audit_events (at, event, user_id, actor_id, ip_address, user_agent, request_id, details)
    SELECT at, event, person, person, inet '198.51.100.0' + (random() * 60)::int, $2, md5(n::text),
           CASE WHEN event = 'login.failed' THEN '{"reason": "invalid_credentials"}'
                WHEN event = 'login.succeeded' THEN '{"amr": ["pwd"]}' ELSE '{}' END::jsonb
    FROM (
        SELECT n, at, 2 + (random() * 11)::int AS person,
               CASE WHEN random() < 0.86 THEN 'login.succeeded' WHEN random() < 0.8 THEN 'login.failed'
                    ELSE 'user.registered' END AS event
        FROM (SELECT n, now() - interval '30 days' * (n / $1::float8) AS at
              FROM generate_series(1, $1::int) n) AS spread
        WHERE random() < 0.25 + 0.75 * greatest(0, sin((extract(hour FROM at) - 5) / 19 * pi()))
              AND (extract(isodow FROM at) < 6 OR random() < 0.35)
        ORDER BY at
    ) AS drawn
"""
PASSKEY = """
    INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, name, transports, backed_up)
    VALUES ($1, $2, $3, $4, 0, $5, '{internal}', true)
"""
IDENTITY = """
    INSERT INTO identities (id, user_id, provider, issuer, subject, username) VALUES ($1, $2, $3, $4, $5, $6)
"""
HISTORY_EVENTS = 2500
# as somebody's has it who looks at what it shows; Chromium without a window says so
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
FRESH_SECONDS = 240.0  # some pages ask for a sign-in of the last ten minutes, and tokens live a quarter of an hour
AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"


@dataclass
class Scene:
    """The service, who is in it, and what stands in the addresses of its pages."""

    url: str
    api: httpx.AsyncClient
    database_url: str
    people: dict[str, Person]
    values: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # secrets of authenticators, by username
    states: dict[str, tuple[float, StorageState]] = field(default_factory=dict)  # since when who is signed in

    def address(self, page: Listed) -> str:
        path = page.path
        for name, value in self.values.items():
            for kind in ("str", "int", "uuid", "path"):
                path = path.replace(f"{{{name}:{kind}}}", value.lstrip("/") if kind == "path" else value)
        assert "{" not in path, f"say in the scene's values what stands in {path}"
        return self.url + path.replace("//", "/") + page.query

    async def show(self, page: Page, listed: Listed) -> Response:
        """The page, by its address or by what leads to it."""
        answer = await (getattr(self, listed.steps)(page) if listed.steps else page.goto(self.address(listed)))
        assert isinstance(answer, Response)
        return answer

    async def enter(self, browser: Browser, who: str, **options: Any) -> BrowserContext:
        """A browser in which this one is signed in, since some minutes at most."""
        options["user_agent"] = AGENT
        if who == NOBODY:
            return await browser.new_context(**options)
        person = self.people[who]
        since, state = self.states.get(person.username, (0.0, None))
        if state is None or time.monotonic() - since > FRESH_SECONDS:
            async with await browser.new_context(user_agent=AGENT) as context:
                page = await context.new_page()
                await self._sign_in(page, person)
                if person.username in self.keys:
                    await page.fill("#code", await self._code(person))
                    await page.click("form[action='/console/sign-in/code'] button.btn-primary")
                await page.wait_for_url(f"{self.url}/console/account")
                state = await context.storage_state()
            self.states[person.username] = time.monotonic(), state
        return await browser.new_context(storage_state=state, **options)

    async def second_step(self, page: Page) -> Response:
        """After the password of somebody with an authenticator."""
        return await self._sign_in(page, self.people[GUARDED])

    async def new_codes(self, page: Page) -> Response:
        """Recovery codes, which are shown this once."""
        await page.goto(f"{self.url}/console/account/factors/codes")
        if await page.locator("main [type=password]").count():
            await page.fill("main [type=password]", PASSWORD)
        async with page.expect_navigation() as arrived:
            await page.click("main form button.btn-primary")
        return _there(await arrived.value)

    async def _sign_in(self, page: Page, person: Person) -> Response:
        await page.goto(f"{self.url}/console/sign-in")
        await page.fill("#username", person.username)
        await page.fill("#password", person.password)
        async with page.expect_navigation() as arrived:
            await page.click("form[action='/console/sign-in'] button.btn-primary")
        return _there(await arrived.value)

    async def _code(self, person: Person) -> str:
        """A code that can be used, though it was a moment ago."""
        await sql(self.database_url, "UPDATE totp_secrets SET last_step = 0 WHERE user_id = $1", person.id)
        return pyotp.TOTP(self.keys[person.username]).now()


def _there(answer: Response | None) -> Response:
    assert answer is not None
    return answer


async def sql(database_url: str, statement: str, *values: object) -> None:
    """By the role that owns the database: what no route would do."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


@asynccontextmanager
async def served(settings: Settings, directory: Path, label: str = "Example ID") -> AsyncGenerator[Scene]:
    """The service on stores of its own, with an administrator and nobody else."""
    said = [
        {
            "name": "example",
            "label": label,
            "issuer": "http://127.0.0.1:9",
            "client_id": "x",
            "client_secret": "y" * 32,
        }
    ]
    known = without_limits(
        replace(settings, environment="development", oidc_providers=providers.parse(msgspec.json.encode(said).decode()))
    )
    servers = Servers(known, directory, 1)
    url = servers.at_localhost()
    await asyncio.to_thread(asyncio.run, _first(known))
    async with servers:
        yield Scene(
            url,
            servers.clients[0],
            settings.database_url,
            {ADMIN: ROOT},
            {"path": "nowhere", "provider": "example", "role": "editor", "name": "editor"},
        )


async def _first(settings: Settings) -> None:
    await first_admin.make(replace(settings, admin_username=ROOT.username), ROOT.password)


async def made(root: SignedIn, **fields: Any) -> dict[str, Any]:
    """Somebody, whom the administrator makes."""
    body = {"password": PASSWORD, "must_change_password": False, **fields}
    answer = await root.ask("POST", "/users", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def pleasant(scene: Scene, database_url: str) -> None:
    """People whom everybody knows, with some devices each, and a month that they have had."""
    root = await log_in(scene.api, ROOT)
    for name, description, permissions in ROLES:
        answer = await root.ask(
            "POST", "/roles", json={"name": name, "description": description, "permissions": permissions}
        )
        assert answer.status_code == 201, answer.text
    for username, full_name, roles in PEOPLE:
        fields = {"full_name": full_name, "email": f"{username}@example.org", "roles": list(roles)}
        found = await made(root, username=username, **fields)
        scene.people[username] = Person(found["id"], username, PASSWORD, fields["email"])
    scene.people[USER] = scene.people["ada"]
    await _history(database_url)
    session = await _sign_ins(scene, scene.people["ada"], (("Phone", SAFARI), ("Library", CHROME), (None, FIREFOX)))
    for username in ("grace", "alan", "barbara", "radia"):
        await _sign_ins(scene, scene.people[username], ((None, CHROME), (None, FIREFOX)))
    await session.ask(
        "POST", "/preferences", json={"theme": "system", "language": "en", "default_model": "analytical-engine"}
    )
    await guard(scene, scene.people["grace"], ("Laptop", "https://accounts.example.org"))
    await root.ask("PATCH", f"/users/{scene.people['dennis'].id}", json={"is_active": False, "reason": "On sabbatical"})


async def _sign_ins(scene: Scene, person: Person, devices: Sequence[tuple[str | None, str]]) -> SignedIn:
    for number, (name, agent) in enumerate(devices, 1):
        body = {"username": person.username, "password": person.password, "device_name": name}
        headers = {**from_ip(f"198.51.100.{person.id * 4 + number}"), "User-Agent": agent}
        answer = await scene.api.post("/login", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
    return SignedIn(scene.api, answer.json())


async def guard(scene: Scene, person: Person, names: tuple[str, str]) -> None:
    """An authenticator, a passkey of this name, and an identity at an issuer of that one."""
    session = await log_in(scene.api, person)
    secret = (await session.ask("POST", "/me/mfa/totp")).json()["secret"]
    confirmed = await session.ask("POST", "/me/mfa/totp/confirm", json={"code": pyotp.TOTP(secret).now()})
    assert confirmed.status_code == 200, confirmed.text
    passkey, identity = str(uuid4()), str(uuid4())
    await sql(scene.database_url, PASSKEY, passkey, person.id, secrets.token_bytes(32), b"", names[0])
    await sql(scene.database_url, IDENTITY, identity, person.id, "example", names[1], str(person.id), names[0])
    scene.keys[person.username] = secret
    scene.people[GUARDED] = person
    scene.values |= {"passkey_id": passkey, "identity_id": identity, "user_id": str(person.id)}


async def _history(database_url: str) -> None:
    for months in range(2):
        await sql(
            database_url,
            "SELECT audit_add_month(date_trunc('month', now() - make_interval(months => $1))::date)",
            months,
        )
    await sql(database_url, "SELECT setseed(0.5)")
    await sql(database_url, HISTORY, HISTORY_EVENTS, CHROME)


def texts(found: Mapping[str, Any]) -> list[str]:
    """What axe-core found that is serious, a line each."""
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]
