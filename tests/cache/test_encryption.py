"""valkeys://: nothing is said to a server that does not show a certificate of its name, by whom we trust."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trustme

from app.cache.link import ValkeyAway
from app.cli.embedded import Valkey
from tests.cache.conftest import Start
from tests.listener import Listener

Serve = Callable[..., Awaitable[str]]


class Encrypted(Listener):
    """Valkey behind TLS: the wheel's server is built without."""

    def __init__(self, context: ssl.SSLContext, valkey: Valkey) -> None:
        super().__init__(context)
        self._valkey = valkey
        self.heard = 0  # bytes of clients

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_valkey, to_valkey = await asyncio.open_connection("127.0.0.1", self._valkey.port)
        try:
            with suppress(OSError):
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass(reader, to_valkey, counted=True))
                    both.create_task(self._pass(from_valkey, writer, counted=False))
        finally:
            to_valkey.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        while data := await reader.read(65536):
            self.heard += len(data) * counted
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
async def encrypted(own_valkey: Valkey) -> AsyncIterator[Callable[[ssl.SSLContext], Awaitable[Encrypted]]]:
    async with AsyncExitStack() as stack:

        async def encrypt(context: ssl.SSLContext) -> Encrypted:
            return await stack.enter_async_context(Encrypted(context, own_valkey))

        yield encrypt


Encrypt = Callable[[ssl.SSLContext], Awaitable[Encrypted]]


def of(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    """What a server of this name has of the authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def url(valkey: Valkey, port: int, **parameters: Path) -> str:
    query = "&".join(f"{name}={path}" for name, path in parameters.items())
    return f"valkeys://:{valkey.password}@127.0.0.1:{port}/0?{query}".rstrip("?")


async def test_entries_go_by_an_encrypted_way(
    start: Start, encrypted: Encrypt, own_valkey: Valkey, authority: trustme.CA, trusted: Path
) -> None:
    server = await encrypted(of(authority))
    one = await start(valkey_url=url(own_valkey, server.port, ssl_ca_certs=trusted))

    await one.change("a", "1")
    assert await one.get("a") == ["1"]

    assert await one.in_valkey("a") == b"=1"
    assert (await one.entries.get(["t:a"])).source == "valkey"


@pytest.mark.parametrize("wrong", ["no authority of ours", "another authority", "another host"])
async def test_a_server_that_cannot_show_who_it_is_is_told_nothing(
    start: Start, encrypted: Encrypt, own_valkey: Valkey, authority: trustme.CA, trusted: Path, wrong: str
) -> None:
    context = of(trustme.CA() if wrong == "another authority" else authority)
    if wrong == "another host":
        context = of(authority, "127.0.0.2")
    server = await encrypted(context)
    files = {} if wrong == "no authority of ours" else {"ssl_ca_certs": trusted}

    one = await start(valkey_url=url(own_valkey, server.port, **files))

    with pytest.raises(ValkeyAway, match="certificate verify failed"):
        await one.entries.links._open()
    assert server.heard == 0
    assert await one.get("a") == [""]  # by PostgreSQL


async def test_a_server_that_asks_for_our_certificate_is_shown_it(
    start: Start, encrypted: Encrypt, own_valkey: Valkey, authority: trustme.CA, trusted: Path, tmp_path: Path
) -> None:
    ours = authority.issue_cert("gatehouse.test")
    certificate, key = tmp_path / "ours.pem", tmp_path / "ours.key"
    ours.cert_chain_pems[0].write_to_path(certificate)
    ours.private_key_pem.write_to_path(key)
    context = of(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(trusted)
    server = await encrypted(context)

    without = await start(valkey_url=url(own_valkey, server.port, ssl_ca_certs=trusted))
    shown = {"ssl_ca_certs": trusted, "ssl_certfile": certificate, "ssl_keyfile": key}
    one = await start(valkey_url=url(own_valkey, server.port, **shown))

    assert without.entries.links.current is None
    assert one.entries.links.current is not None
