"""A browser with an authenticator of its own, and the service as it sees it. Run by `make test-browser`."""

import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from playwright.async_api import Browser as Chrome
from playwright.async_api import CDPSession, Page, async_playwright

from app.settings import Settings
from tests.kit import BASE
from tests.servers import Servers

AUTHENTICATOR = {  # https://chromedevtools.github.io/devtools-protocol/tot/WebAuthn/
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@dataclass
class Browser:
    """A page of the service, and the authenticator's controls."""

    page: Page
    devtools: CDPSession
    authenticator: str

    async def ask(self, script: str, **arguments: Any) -> Any:
        """What a script on the page answers; it may call `post(path, body, token)`."""
        post = """
            const post = async (path, body, token) => {
                const headers = {"Content-Type": "application/json"};
                if (token) headers.Authorization = `Bearer ${token}`;
                const answer = await fetch(base + path, {method: "POST", headers, body: JSON.stringify(body)});
                return {status: answer.status, body: await answer.json()};
            };
        """
        return await self.page.evaluate(
            f"async ({{base, ...given}}) => {{ {post} {script} }}", {"base": BASE, **arguments}
        )


@asynccontextmanager
async def launched() -> AsyncGenerator[Chrome]:
    command = shutil.which("chromium")
    assert command is not None, "Chromium is needed"
    async with (
        async_playwright() as playwright,
        # Chromium's sandbox does not work for root
        await playwright.chromium.launch(executable_path=command, chromium_sandbox=os.geteuid() != 0) as chrome,
    ):
        yield chrome


@pytest.fixture(scope="module")
async def chrome() -> AsyncIterator[Chrome]:
    """The browser of a file's tests, which make visitors of their own in it."""
    async with launched() as chrome:
        yield chrome


@asynccontextmanager
async def chromium() -> AsyncGenerator[Page]:
    """A browser that nobody has used yet."""
    async with launched() as chrome:
        yield await chrome.new_page()


@pytest.fixture
async def browser(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    lenient = replace(settings, environment="development", rate_limit_register=None)  # all come from one address
    servers = Servers(lenient, tmp_path_factory.mktemp("browser"), 1)
    url = servers.at_localhost()
    async with servers, chromium() as page:
        await page.goto(f"{url}/docs")
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("WebAuthn.enable")
        added = await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        yield Browser(page, devtools, added["authenticatorId"])
