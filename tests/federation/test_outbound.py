"""The one way out: it leads where it may, once, within a time and a size, and nothing is kept or followed."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from httpcore2 import AnyIOBackend, AsyncNetworkStream, ConnectError

from app.outbound import Away, Outbound, TooLong, Untrusted
from app.wire import Public, is_public
from tests.federation.server import Asked, Reply, Server, by_drops, endless, redirect
from tests.mail.kit import certificates

SECONDS = 20.0  # more than any test takes
PUBLIC, ANOTHER_PUBLIC = "93.184.216.34", "2606:2800:220:1::1"
NAME = "op.example"

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.0.170",
    "192.168.1.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::10.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "2002:7f00:1::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str, name: str = NAME) -> list[str]:
    """The name has these addresses; any other has those it had. Which were asked for is told."""
    asked: list[str] = []
    found = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        if host != name:
            return found(host, port, *args, **kwargs)
        return [each for address in addresses for each in found(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def leading(monkeypatch: pytest.MonkeyPatch, port: int, *unreachable: str) -> list[str]:
    """Public addresses lead to this port of loopback, but for these, where nobody is. Which were tried is told."""
    tried: list[str] = []
    connect = AnyIOBackend.connect_tcp

    async def connect_tcp(backend: AnyIOBackend, host: str, _: int, *args: Any, **kwargs: Any) -> AsyncNetworkStream:
        tried.append(host)
        if host in unreachable:
            raise ConnectError
        return await connect(backend, "127.0.0.1", port, *args, **kwargs)

    monkeypatch.setattr(AnyIOBackend, "connect_tcp", connect_tcp)
    return tried


class Script:
    """Answers whatever the test says."""

    def __init__(self) -> None:
        self.reply = Reply(200, {"Content-Type": "application/json; charset=utf-8"}, b'{"a": 1}')

    async def __call__(self, _: Asked) -> Reply:
        return self.reply


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def server(script: Script) -> AsyncIterator[Server]:
    async with Server(script) as server:
        yield server


@pytest.fixture
async def canary() -> AsyncIterator[Server]:
    """Where nothing is asked."""
    async with Server() as canary:
        yield canary
        assert canary.connections == 0


@pytest.fixture
def outbound(server: Server) -> Outbound:
    """Of an operator who has named the server."""
    return Outbound([f"{server.origin}/realm"])


# ---- where it leads -------------------------------------------------------------------------------------------------


async def test_what_is_named_is_asked_and_answers(outbound: Outbound, server: Server) -> None:
    answer = await outbound.ask("GET", f"{server.origin}/keys?a=b", seconds=SECONDS, headers={"Accept": "x/y"})

    assert (answer.status, answer.content, answer.media_type) == (200, b'{"a": 1}', "application/json")
    assert (answer.header("content-length"), answer.header("cookie")) == ("8", "")
    (asked,) = server.requests
    assert (asked.method, asked.path, asked.query, asked.headers["accept"]) == ("GET", "/keys", {"a": "b"}, "x/y")
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"


async def test_what_is_posted_arrives_whole(outbound: Outbound, server: Server) -> None:
    await outbound.ask("POST", f"{server.origin}/token", seconds=SECONDS, content=b"x" * 100_000)
    await outbound.ask("POST", f"{server.origin}/token", seconds=SECONDS)

    assert [asked.content for asked in server.requests] == [b"x" * 100_000, b""]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_behind_our_walls_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, ANOTHER_PUBLIC, "1.1.1.1", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["::1"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::a00:1"],
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        [PUBLIC, ANOTHER_PUBLIC, "fd00::1"],
    ],
    ids=" ".join,
)
async def test_a_name_with_a_private_address_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, outbound: Outbound, canary: Server, addresses: list[str]
) -> None:
    """Whatever others it has: whoever answers for the name chooses which one is taken."""
    asked = resolving(monkeypatch, *addresses)
    tried = leading(monkeypatch, canary.port)

    with pytest.raises(Untrusted, match="not of the public Internet"):
        await outbound.ask("GET", f"https://{NAME}:{canary.port}/keys", seconds=SECONDS)

    assert asked == [NAME]
    assert tried == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "2130706433", "0"]
)
async def test_a_private_address_that_is_written_out_is_not_asked(
    outbound: Outbound, canary: Server, host: str
) -> None:
    """Nor another port of a host that is named."""
    with pytest.raises(Untrusted):
        await outbound.ask("GET", f"https://{host}:{canary.port}/", seconds=SECONDS)


async def test_the_address_that_was_looked_at_is_the_one_that_is_asked(
    monkeypatch: pytest.MonkeyPatch, outbound: Outbound, server: Server
) -> None:
    """A second look might find another (DNS rebinding)."""
    asked = resolving(monkeypatch, PUBLIC)
    tried = leading(monkeypatch, server.port)

    with pytest.raises(Away):  # for it does not speak TLS
        await outbound.ask("GET", f"https://{NAME}/keys", seconds=SECONDS)

    assert asked.count(NAME) == 1
    assert tried == [PUBLIC]


async def test_of_several_addresses_the_first_that_can_be_reached_is_asked(
    monkeypatch: pytest.MonkeyPatch, canary: Server
) -> None:
    resolving(monkeypatch, PUBLIC, ANOTHER_PUBLIC, "1.1.1.1")
    async with Server() as server:
        tried = leading(monkeypatch, server.port, PUBLIC)
        stream = await Public().connect_tcp(NAME, 443)
        await stream.aclose()

        assert tried == [PUBLIC, ANOTHER_PUBLIC]

        leading(monkeypatch, server.port, PUBLIC, ANOTHER_PUBLIC, "1.1.1.1")
        with pytest.raises(ConnectError):
            await Public().connect_tcp(NAME, 443)


@pytest.mark.parametrize(
    "url",
    [
        "http://{name}/",
        "http://{canary}/",
        "HTTP://{canary}/",
        "ftp://{canary}/",
        "file:///etc/passwd",
        "{canary}",
        "//{canary}/",
        "https:///keys",
        "https://",
        "https://[::1",
        "https://x:y/",
        "https://x:99999/",
        "https://x:-1/",
        "https://a..b/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 200}example/",
        "https://xn--/",
        "https://user@{canary}/",
        "https://user:secret@{canary}/",
        "https://{server}@{canary}/",
        "https://{canary}\\@{server}/",
        "https://{canary}/ HTTP/1.1\r\nX: y",
        "https://{canary}/\n",
        "https://{canary}/ä",
        "https://ä.example/",
        "https://%31%32%37.0.0.1/",
        "",
    ],
)
async def test_what_is_no_url_of_a_public_server_by_tls_is_not_asked(
    outbound: Outbound, server: Server, canary: Server, url: str
) -> None:
    written = url.format(canary=f"127.0.0.1:{canary.port}", server=f"127.0.0.1:{server.port}", name=NAME)

    with pytest.raises((Untrusted, Away)):
        await outbound.ask("GET", written, seconds=SECONDS)

    assert server.requests == []


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
async def test_the_internet_is_asked_by_tls_alone(
    monkeypatch: pytest.MonkeyPatch, outbound: Outbound, server: Server, scheme: str
) -> None:
    resolving(monkeypatch, PUBLIC)
    tried = leading(monkeypatch, server.port)

    with pytest.raises(Untrusted):
        await outbound.ask("GET", f"{scheme}://{NAME}/", seconds=SECONDS)

    assert tried == []


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
async def test_no_proxy_is_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, outbound: Outbound, server: Server, canary: Server, name: str
) -> None:
    monkeypatch.setenv(name, canary.origin)

    assert (await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS)).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer(
    outbound: Outbound, server: Server, canary: Server, script: Script, status: int
) -> None:
    script.reply = redirect(f"{canary.origin}/elsewhere")
    script.reply.status = status

    answer = await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS)

    assert (answer.status, answer.header("location")) == (status, f"{canary.origin}/elsewhere")
    assert len(server.requests) == 1


async def test_nothing_is_kept_between_two_questions(outbound: Outbound, server: Server, script: Script) -> None:
    script.reply.headers["Set-Cookie"] = "a=b"
    for _ in range(2):
        await outbound.ask("GET", f"{server.origin}/", seconds=SECONDS)

    assert server.connections == 2
    assert "cookie" not in server.requests[1].headers


# ---- TLS ------------------------------------------------------------------------------------------------------------


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
