"""Ways to a provider and back by the pages of the console."""

from collections.abc import Callable
from urllib.parse import quote

import jwt
from httpx import AsyncClient

from tests.console.kit import ACCESS, ACCOUNT, SIGN_IN, Browser, Page
from tests.federation.provider import OpenIdProvider
from tests.kit import SignedIn

ORIGIN = "https://auth.example.test"
RETURN, CONFIRM, IDENTITIES = f"{SIGN_IN}/return", "/console/confirm", f"{ACCOUNT}/identities"
WAY = "__Host-gatehouse-console-way-"
SENSITIVE = f"{IDENTITIES}/link/nowhere"  # a 404, once the login is a present one

Fellow = Callable[[], Browser]


def onwards_to(op: OpenIdProvider, onwards: str | None = None, page: str = SIGN_IN) -> str:
    return f"{page}/with/{op.name}" + (f"?next={quote(onwards)}" if onwards else "")


async def sent(person: Browser, path: str) -> str:
    """Where the provider is asked."""
    answer = await person.get(path)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def came_back(person: Browser, web: AsyncClient, location: str, subject: str) -> str:
    """The page of the console that the browser is led to, once this person has said yes there."""
    answer = await web.get(location, headers={"Cookie": f"person={quote(subject)}"})
    assert answer.status_code == 302, answer.text
    called = await person.get(answer.headers["location"].removeprefix(ORIGIN))
    assert called.status_code == 302, called.text
    back = str(called.headers["location"])
    assert back.startswith(f"{ORIGIN}/console/")
    return back.removeprefix(ORIGIN)


async def there_and_back(person: Browser, web: AsyncClient, path: str, subject: str) -> Page:
    return await person.open(await came_back(person, web, await sent(person, path), subject))


def session_of(person: Browser, client: AsyncClient) -> SignedIn:
    access = person.cookies[ACCESS]
    claims = jwt.decode(access, options={"verify_signature": False})
    return SignedIn(client, {"session_id": claims["sid"], "access_token": access})
