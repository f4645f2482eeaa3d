"""The one way out: it leads where it may, once, within a time and a size, and nothing is kept or followed."""

from collections.abc import AsyncIterator

import pytest
from httpcore2 import ConnectError

from app.outbound import Away, Outbound, Untrusted
from app.wire import Public, is_public
from tests.federation.network import ANOTHER_PUBLIC, NAME, PUBLIC, SECONDS, leading, resolving
from tests.federation.server import Script, Server, redirect

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


@pytest.fixture
async def canary() -> AsyncIterator[Server]:
    """Where nothing is asked."""
    async with Server() as canary:
        yield canary
        assert canary.connections == 0


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
