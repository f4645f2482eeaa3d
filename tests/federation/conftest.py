"""A service that knows many providers, and a canary that nobody asks."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from httpx import AsyncClient

from app.outbound import Outbound
from app.parts import Parts
from app.settings import Settings
from tests.console import kit as console
from tests.federation.journeys import Fellow
from tests.federation.kit import Browser, without_a_jar
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import Authority, Realm
from tests.federation.server import Script, Server
from tests.replica import Replica, serving


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
async def whole_realm(authority: Authority, settings: Settings) -> AsyncIterator[Realm]:
    realm = Realm(authority, settings.public_url)
    async with realm.server:
        yield realm


@pytest.fixture(scope="session")
async def house(whole_realm: Realm, settings: Settings) -> AsyncIterator[Replica]:
    """An application beside the one that tests share, on the same stores."""
    async with serving(whole_realm.known_to(settings)) as house:
        without_a_jar(house.client)
        yield house


@pytest.fixture
async def realm(whole_realm: Realm) -> AsyncIterator[Realm]:
    """Whose providers were asked rightly, if they were asked."""
    yield whole_realm
    errors, whole_realm.server.errors = whole_realm.server.errors, []
    assert errors == []


@pytest.fixture
def app(house: Replica) -> AsyncClient:
    return house.client


@pytest.fixture
def parts(house: Replica) -> Parts:
    return house.parts


@pytest.fixture
def op(realm: Realm) -> OpenIdProvider:
    """A provider that nobody has asked yet."""
    return realm.take()


@pytest.fixture
async def canary(authority: Authority) -> AsyncIterator[Server]:
    """A server with a good certificate, which no setting names."""
    async with Server(context=authority.serving()) as canary:
        yield canary
        assert canary.connections == 0


@pytest.fixture
async def plain_canary() -> AsyncIterator[Server]:
    """The same, without TLS."""
    async with Server() as canary:
        yield canary
        assert canary.connections == 0


@pytest.fixture
async def over() -> AsyncIterator[asyncio.Event]:
    """When the test is."""
    over = asyncio.Event()
    yield over
    over.set()


@pytest.fixture
async def new_browser(house: Replica, authority: Authority) -> AsyncIterator[Callable[[], Browser]]:
    async with AsyncClient(verify=authority.trusting()) as web:
        without_a_jar(web)
        yield lambda: Browser(house.client, web)


@pytest.fixture
def browser(new_browser: Callable[[], Browser]) -> Browser:
    return new_browser()


# ---- the way out ---------------------------------------------------------------------------------------------------


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def server(script: Script) -> AsyncIterator[Server]:
    async with Server(script) as server:
        yield server


@pytest.fixture
def outbound(server: Server) -> Outbound:
    """Of an operator who has named the server."""
    return Outbound([f"{server.origin}/realm"])


@pytest.fixture
def fellow(house: Replica) -> Fellow:
    """Somebody with a browser of his own."""
    return lambda: console.Browser(house.edge)


@pytest.fixture
def person(fellow: Fellow) -> console.Browser:
    return fellow()


@pytest.fixture
async def web(authority: Authority) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(verify=authority.trusting()) as web:
        yield without_a_jar(web)
