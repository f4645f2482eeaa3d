"""The wire to other servers: TLS that is proved, an answer within a time and a size, and nothing left behind."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from app.background import end
from app.outbound import Away, Outbound, TooLong, Untrusted
from app.wire import SIP
from tests.federation.network import NAME, PUBLIC, SECONDS, leading, resolving
from tests.federation.server import Asked, Reply, Script, Server, by_drops, endless, whole
from tests.mail.kit import certificates


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    return certificates(tmp_path)


@pytest.fixture
async def encrypted(certificate: tuple[Path, ssl.SSLContext], script: Script) -> AsyncIterator[Server]:
    async with Server(script, certificate[1]) as server:
        yield server


async def test_an_authority_that_nobody_has_named_is_not_trusted(encrypted: Server) -> None:
    with pytest.raises(Untrusted, match="TLS: CERTIFICATE_VERIFY_FAILED"):
        await Outbound([encrypted.origin]).ask("GET", f"{encrypted.origin}/", seconds=SECONDS)

    assert encrypted.requests == []


async def test_an_authority_of_the_environment_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, encrypted: Server, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    with pytest.raises(Untrusted):
        await Outbound([encrypted.origin]).ask("GET", f"{encrypted.origin}/", seconds=SECONDS)


async def test_an_authority_that_the_settings_name_is_trusted(
    encrypted: Server, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    outbound = Outbound([encrypted.origin], certificate[0])

    assert (await outbound.ask("GET", f"{encrypted.origin}/", seconds=SECONDS)).status == 200


async def test_a_certificate_of_another_name_is_not_trusted(
    encrypted: Server, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    url = f"https://localhost:{encrypted.port}"

    with pytest.raises(Untrusted, match="TLS"):
        await Outbound([url], certificate[0]).ask("GET", f"{url}/", seconds=SECONDS)

    assert encrypted.requests == []


async def test_the_certificate_has_to_be_of_the_name_and_not_of_its_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: Script
) -> None:
    authority = trustme.CA()
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    resolving(monkeypatch, PUBLIC)
    for name, is_asked in ((NAME, True), (PUBLIC, False)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        async with Server(script, context) as server:
            with monkeypatch.context() as patch:
                leading(patch, server.port)
                out = Outbound(["https://named.example"], trusted)
                asking = out.ask("GET", f"https://{NAME}/keys", seconds=SECONDS)
                if is_asked:
                    assert (await asking).status == 200
                    assert server.requests[0].headers["host"] == NAME
                else:
                    with pytest.raises(Untrusted, match="TLS"):
                        await asking
                    assert server.requests == []


async def test_what_speaks_no_tls_is_away(server: Server, script: Script) -> None:
    url = server.origin.replace("http:", "https:")

    with pytest.raises((Away, Untrusted)):
        await Outbound([url]).ask("GET", f"{url}/", seconds=SECONDS)


# ---- times and sizes ------------------------------------------------------------------------------------------------


async def test_an_answer_of_the_most_is_taken_and_one_byte_more_is_not(
    outbound: Outbound, server: Server, script: Script
) -> None:
    script.reply.content = b"x" * 5000
    assert len((await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS, most=5000)).content) == 5000

    with pytest.raises(TooLong, match="more than 4999 bytes"):
        await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS, most=4999)


async def test_an_answer_without_an_end_is_not_read_for_ever(
    outbound: Outbound, server: Server, script: Script
) -> None:
    script.reply.content = endless(b"x" * 65_536)

    with pytest.raises(TooLong):
        await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS)


async def test_headers_without_an_end_are_not_read_for_ever(outbound: Outbound, server: Server, script: Script) -> None:
    script.reply.headers["X"] = "y" * 2_000_000

    with pytest.raises(Away):
        await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS)


async def test_others_have_their_turn_while_an_answer_is_read(
    outbound: Outbound, server: Server, script: Script
) -> None:
    """An answer in a hundred thousand pieces is parsed a page at a time."""
    pieces = 100_000
    script.reply = Reply(200, {"Transfer-Encoding": "chunked"}, whole(b"1\r\nx\r\n" * pieces + b"0\r\n\r\n"))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(others())
    answer = await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS)
    await end(counting)

    assert len(answer.content) == pieces
    assert turns >= 6 * pieces / SIP


async def test_nothing_is_unpacked(outbound: Outbound, server: Server, script: Script) -> None:
    """A bomb of a few kilobytes is that many."""
    bomb = gzip.compress(bytes(50_000_000))
    script.reply = Reply(200, {"Content-Encoding": "gzip", "Content-Type": "application/json"}, bomb)

    answer = await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS)

    assert answer.content == bomb
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.fixture
async def over() -> AsyncIterator[asyncio.Event]:
    """When the test is."""
    over = asyncio.Event()
    yield over
    over.set()


Slow = Callable[[asyncio.Event], Callable[[Asked], Any]]


def silent(over: asyncio.Event) -> Callable[[Asked], Any]:
    async def answer(_: Asked) -> Reply:
        await over.wait()
        return Reply()

    return answer


def dripping(over: asyncio.Event) -> Callable[[Asked], Any]:
    async def answer(_: Asked) -> Reply:
        return Reply(content=by_drops(b"x" * 2000, over))

    return answer


@pytest.mark.parametrize("slow", [silent, dripping])
async def test_who_takes_too_long_is_away(over: asyncio.Event, slow: Slow) -> None:
    """All in all, however often a byte comes."""
    async with Server(slow(over)) as server:
        with pytest.raises(Away, match=r"no answer within 0\.2 s"):
            await Outbound([server.origin]).ask("GET", f"{server.origin}/", seconds=0.2)


async def test_no_connection_is_left_to_a_server_whose_tls_does_not_begin() -> None:
    closed = asyncio.Event()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        closed.set()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        with pytest.raises(Away, match="no answer"):
            await Outbound([url]).ask("GET", f"{url}/", seconds=0.2)
        async with asyncio.timeout(SECONDS):
            await closed.wait()


async def test_a_name_server_that_takes_too_long_is_a_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch, outbound: Outbound, over: asyncio.Event
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        await over.wait()
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    with pytest.raises(Away, match=r"no answer within 0\.1 s"):
        await outbound.ask("GET", f"https://{NAME}/", seconds=0.1)


async def test_a_name_that_is_not_there_is_a_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch, outbound: Outbound
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    with pytest.raises(Away, match="gaierror"):
        await outbound.ask("GET", f"https://{NAME}/", seconds=SECONDS)


async def test_who_refuses_or_hangs_up_is_away(outbound: Outbound, server: Server, script: Script) -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield b"12345"
        raise ConnectionResetError

    script.reply = Reply(200, {"Content-Length": "10"}, breaks_off())
    with pytest.raises(Away):
        await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS)

    async with Server() as gone:
        pass
    with pytest.raises(Away):
        await Outbound([gone.origin]).ask("GET", f"{gone.origin}/", seconds=SECONDS)


async def test_what_is_not_http_is_away(script: Script) -> None:
    async def rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example.org ESMTP\r\n" * 10)
        writer.close()

    server = await asyncio.start_server(rubbish, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        with pytest.raises(Away, match="RemoteProtocolError"):
            await Outbound([url]).ask("GET", f"{url}/", seconds=SECONDS)


async def test_what_would_be_two_headers_is_not_sent(outbound: Outbound, server: Server) -> None:
    with pytest.raises(Away):
        await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS, headers={"Authorization": "a\r\nX: y"})

    assert server.requests == []


async def test_what_is_said_of_a_failure_holds_nothing_that_was_sent(outbound: Outbound, server: Server) -> None:
    with pytest.raises(Away) as caught:
        await outbound.ask(
            "GET", f"{server.origin}/hidden", seconds=SECONDS, headers={"Authorization": "Bearer hidden\n"}
        )
    with pytest.raises(Untrusted) as also_caught:
        await outbound.ask("GET", "https://127.0.0.1:1/hidden?code=hidden", seconds=SECONDS)

    assert "hidden" not in f"{caught.value}{also_caught.value}"
