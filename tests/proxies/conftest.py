"""Two replicas in production mode, an application, and either proxy in front of both."""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from httpx import AsyncClient, AsyncHTTPTransport, Request, Response

from app.cli import first_admin
from tests.conftest import ADMIN, Apart
from tests.kit import BASE, SignedIn, log_in
from tests.proxies import application
from tests.proxies.application import Application
from tests.proxies.running import APPLICATION, SERVICE, HAProxy, Nginx, Proxy
from tests.servers import Servers, without_limits

Connect = Callable[..., AsyncClient]


class Way(AsyncHTTPTransport):
    """To a proxy on loopback, whatever name it is asked for: by its certificate and SNI it is who it should be."""

    def __init__(self, proxy: Proxy, local_address: str) -> None:
        self._ports = proxy.ports
        context = ssl.create_default_context(cafile=proxy.certified.authority)
        super().__init__(verify=context, local_address=local_address)

    async def handle_async_request(self, request: Request) -> Response:
        name = request.url.host
        url = request.url.copy_with(host="127.0.0.1", port=self._ports[name])
        extensions = {**request.extensions, "sni_hostname": name}
        sent = Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)
        return await super().handle_async_request(sent)


@pytest.fixture(scope="session")
async def house(apart: Apart, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """As the shipped files have it: known as auth.example.org, and our address is the proxy's."""
    settings = without_limits(replace(apart("proxies"), public_url=f"https://{SERVICE}", audience=f"https://{SERVICE}"))
    await first_admin.make(replace(settings, admin_username=ADMIN.username), ADMIN.password)
    async with Servers(settings, tmp_path_factory.mktemp("house"), 2) as servers:
        yield servers


@pytest.fixture(scope="session")
def behind() -> Iterator[Application]:
    with application.running() as running:
        yield running


@pytest.fixture(scope="session", params=[Nginx, HAProxy], ids=["nginx", "haproxy"])
def kind(request: pytest.FixtureRequest) -> type[Proxy]:
    found: type[Proxy] = request.param
    return found


@pytest.fixture(scope="session")
def proxy(
    kind: type[Proxy], house: Servers, behind: Application, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    ports = [client.base_url.port or 0 for client in house.clients]
    with kind(tmp_path_factory.mktemp(kind.name), ports, behind.port) as running:
        yield running


@pytest.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    """Makes a client of what is behind the proxy, at an address of loopback."""
    async with AsyncExitStack() as stack:

        def make(name: str = SERVICE, address: str = "127.0.0.7") -> AsyncClient:
            base = f"https://{name}{BASE if name == SERVICE else ''}"
            made = AsyncClient(transport=Way(proxy, address), base_url=base, timeout=60)
            stack.push_async_callback(made.aclose)
            return made

        yield make


@pytest.fixture
def client(connect: Connect) -> AsyncClient:
    """Of the service, through the proxy."""
    return connect()


@pytest.fixture
def app(connect: Connect) -> AsyncClient:
    """Of the application, through the proxy."""
    return connect(APPLICATION)


@pytest.fixture
async def admin(client: AsyncClient) -> SignedIn:
    return await log_in(client, ADMIN)
