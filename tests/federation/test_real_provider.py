"""A provider that others have written: what it takes for right is what we do, and the other way about."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from httpx import AsyncClient, HTTPError

from app import providers
from app.settings import Settings
from tests.federation.kit import Browser, Flow, code_of, exchange, without_a_jar
from tests.federation.realm import REDIRECT_URIS
from tests.kit import new_name
from tests.replica import serving
from tests.servers import free_port

START_SECONDS = 30.0
COMMAND = Path(sys.executable).parent / "oidc-provider-mock"


@dataclass
class Mock:
    """A process of `oidc-provider-mock`, which asks for no password: who says that he is somebody is."""

    issuer: str
    web: AsyncClient
    name: str = "mock"

    async def knows(self, subject: str, **claims: object) -> None:
        answer = await self.web.put(f"{self.issuer}/users/{subject}", json=claims)
        assert answer.status_code == 204, answer.text

    async def back(self, flow: Flow, **form: str) -> str:
        """Where the browser is sent from the form of the provider."""
        answer = await self.web.get(flow.location)
        assert answer.status_code == 200, answer.text
        answer = await self.web.post(flow.location, data=form)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])


@pytest.fixture(scope="module")
async def mock(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mock]:
    port = free_port()
    mock = Mock(f"http://localhost:{port}", without_a_jar(AsyncClient()))
    log = tmp_path_factory.mktemp("provider") / "log"
    with log.open("wb") as out:
        command = [str(COMMAND), "--port", str(port), "--require-nonce", "true"]
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await _answers(mock):
                assert process.poll() is None, log.read_text()
                await asyncio.sleep(0.05)
        yield mock
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
        await mock.web.aclose()


async def _answers(mock: Mock) -> bool:
    try:
        return (await mock.web.get(f"{mock.issuer}/jwks")).is_success
    except HTTPError:
        return False


@pytest.fixture
async def browser(mock: Mock, settings: Settings) -> AsyncIterator[Browser]:
    said = [{"name": mock.name, "issuer": mock.issuer, "client_id": "gatehouse", "client_secret": "any:will/do"}]
    known = replace(
        settings, oidc_providers=providers.parse(msgspec.json.encode(said).decode()), redirect_uris=REDIRECT_URIS
    )
    async with serving(known) as house:
        yield Browser(without_a_jar(house.client), mock.web)


async def test_somebody_signs_in_and_is_the_same_the_next_time(browser: Browser, mock: Mock) -> None:
    subject, email = new_name(), f"{new_name()}@example.org"
    await mock.knows(subject, email=email, email_verified=True, name="Ada", preferred_username=subject)

    users = []
    for _ in range(2):
        flow = await browser.start(mock)
        answer = await browser.get(await mock.back(flow, sub=subject))
        exchanged = await exchange(browser.app, code_of(answer), flow.verifier)
        assert exchanged.status_code == 200, exchanged.text
        users.append(exchanged.json()["user"])

    assert users[0]["id"] == users[1]["id"]
    assert (users[0]["provider"], users[0]["username"], users[0]["full_name"]) == ("mock", subject, "Ada")
    assert (users[0]["email"], users[0]["email_verified"]) == (email, True)
