"""Signing in with a provider in a browser: three sites, and cookies as a browser minds them."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import Page

from app import providers
from app.settings import Settings
from tests.browser.conftest import chromium
from tests.federation.server import Script, Server
from tests.kit import BASE, new_name
from tests.servers import Servers, free_port

HERE = Path(__file__).parent
START_SECONDS = 30.0
SECRET = "secret-of-the-tests-0123456789"

BEGIN = """
    async ({api, redirect_to}) => {
        const base64 = raw => btoa(String.fromCharCode(...new Uint8Array(raw)));
        const base64url = raw => base64(raw).replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=+$/, "");
        const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
        sessionStorage.verifier = verifier;
        const challenge = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
        const query = new URLSearchParams({redirect_to, code_challenge: base64url(challenge)});
        location = `${api}/oauth/sso/start?${query}`;
    }
"""
FINISH = """
    async ({api}) => {
        const code = new URLSearchParams(location.search).get("code");
        const answer = await fetch(`${api}/oauth/exchange`, {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify({code, code_verifier: sessionStorage.verifier}),
        });
        return {status: answer.status, body: await answer.json()};
    }
"""


@dataclass
class Sites:
    """The service, the provider, and an application that is a page of another origin."""

    service: str
    provider: str
    app: str

    @property
    def signed_in(self) -> str:
        return f"{self.app}/signed-in"

    async def begin(self, page: Page) -> None:
        """From the application to the provider's form."""
        await page.goto(self.app)
        await page.evaluate(BEGIN, {"api": self.service + BASE, "redirect_to": self.signed_in})
        await page.wait_for_selector("input[name=login]")

    async def sign_in(self, page: Page, name: str) -> None:
        """And through it, back to the application."""
        await page.fill("input[name=login]", name)
        await page.fill("input[name=password]", "any")
        await page.click("button[type=submit]")
        await page.click("button[type=submit]:has-text('Continue')")

    async def finish(self, page: Page) -> dict[str, object]:
        await page.wait_for_url(f"{self.signed_in}?*")
        found: dict[str, object] = await page.evaluate(FINISH, {"api": self.service + BASE})
        return found


@asynccontextmanager
async def provider(port: int, redirect_uri: str) -> AsyncIterator[None]:
    command = ["node", "provider.js", str(port), "gatehouse", SECRET, redirect_uri]
    process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        yield
    finally:
        process.terminate()
        await asyncio.to_thread(process.communicate)


@pytest.fixture
async def sites(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sites]:
    """Of the provider the service is another site (`localhost`), so a cookie that is Strict would not come back."""
    script, port = Script(), free_port()
    script.reply.headers["Content-Type"] = "text/html"
    issuer = f"http://127.0.0.1:{port}"
    said = [{"name": "sso", "issuer": issuer, "client_id": "gatehouse", "client_secret": SECRET}]
    async with Server(script) as app:
        known = replace(
            settings,
            environment="development",
            oidc_providers=providers.parse(msgspec.json.encode(said).decode()),
            redirect_uris=(f"{app.origin}/signed-in",),
            cors_origins=(app.origin,),
        )
        servers = Servers(known, tmp_path_factory.mktemp("browser"), 1)
        service = servers.at_localhost()
        async with provider(port, f"{service}{BASE}/oauth/sso/callback"), servers:
            yield Sites(service, issuer, app.origin)


async def test_somebody_signs_in_with_a_provider_and_the_application_has_a_session(sites: Sites) -> None:
    name = new_name()
    users = []
    for _ in range(2):  # another browser, the same person
        async with chromium() as page:
            await sites.begin(page)
            await sites.sign_in(page, name)
            answer = await sites.finish(page)

            assert answer["status"] == 200, answer
            users.append(answer["body"]["user"])
            assert await page.context.cookies(sites.service) == []

    assert users[0]["id"] == users[1]["id"]
    assert (users[0]["username"], users[0]["email"]) == (name, f"{name}@example.org")
    assert (users[0]["email_verified"], users[0]["provider"]) == (True, "sso")


async def test_who_says_no_is_back_at_the_application(sites: Sites) -> None:
    async with chromium() as page:
        await sites.begin(page)

        await page.click("text=Cancel")

        await page.wait_for_url(f"{sites.signed_in}?error=access_denied")


async def test_a_way_back_that_began_in_another_browser_ends_on_a_page(sites: Sites) -> None:
    """The page has its style, by the policy's hash, and nothing in it runs."""
    async with chromium() as hers, chromium() as his:
        back: list[str] = []
        hers.on("request", lambda request: back.append(request.url) if "/callback?" in request.url else None)
        await hers.route("**/callback?*", lambda route: route.abort())
        await sites.begin(hers)
        await sites.sign_in(hers, new_name())
        async with asyncio.timeout(START_SECONDS):
            while not back:
                await hers.wait_for_timeout(50)
        refusals: list[str] = []
        his.on("console", lambda message: refusals.append(message.text))

        answer = await his.goto(back[0])

        assert answer is not None
        assert answer.status == 400
        assert await his.text_content("h1") == "You are not signed in"
        assert "invalid_state" in await his.inner_text("small")
        assert await his.evaluate("getComputedStyle(document.body).maxWidth") != "none"
        assert not [each for each in refusals if "Content Security Policy" in each]
