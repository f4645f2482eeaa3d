"""Whose address counts: the peer's, or behind trusted proxies the right-most hop that is none of them."""

import ipaddress

import pytest
from httpx import AsyncClient

from app.client import Client, address, client_ip, printable
from tests.kit import Person, SignedIn, log_in

PROXIES = tuple(
    ipaddress.ip_network(network) for network in ("127.0.0.0/8", "10.0.0.0/8", "2001:db8:aaaa::/48", "::1/128")
)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        # Nobody but a trusted peer is believed.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("2001:db8:bbbb::1", ["198.51.100.1"], "2001:db8:bbbb::1"),
        ("10.0.0.1", [], "10.0.0.1"),
        # What a client claims stands left of what the proxies have seen.
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.9.9.9,127.0.0.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        # Garbage ends the walk, and the last one known counts.
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, unknown, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["198.51.100.1,"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["_hidden", "198.51.100.256"], "10.0.0.1"),
        # IPv6, and IPv4 in its clothes: on a socket that serves both, and in networks of either kind.
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, ::ffff:10.2.2.2"], "198.51.100.1"),
        ("2001:db8:aaaa::1", ["2001:db8:bbbb::2, 2001:db8:aaaa:1::3"], "2001:db8:bbbb::2"),
        # As some proxies write it: with brackets, with the port, with the zone of an interface.
        ("10.0.0.1", ["198.51.100.1:50123"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8:bbbb::2]:443"], "2001:db8:bbbb::2"),
        ("10.0.0.1", ["[2001:db8:bbbb::2]"], "2001:db8:bbbb::2"),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        # A peer without an address: a Unix socket.
        ("", ["198.51.100.1"], "0.0.0.0"),
    ],
)
def test_the_address_that_counts(peer: str, forwarded_for: list[str], expected: str) -> None:
    assert str(client_ip(peer, forwarded_for, PROXIES)) == expected


def test_without_trusted_proxies_no_header_is_believed() -> None:
    assert str(client_ip("10.0.0.1", ["198.51.100.1"], ())) == "10.0.0.1"


@pytest.mark.parametrize("text", ["", " ", "unknown", "1.2.3", "01.2.3.4", "1.2.3.4/8", "::1]", ":::", "1" * 50])
def test_what_is_no_address(text: str) -> None:
    assert address(text) is None


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
    ],
)
def test_limits_count_an_ipv6_site_as_one(ip: str, network: str) -> None:
    assert Client(ip=ip, user_agent="", request_id="").network == network


def test_what_a_client_says_of_itself_does_not_break_a_line() -> None:
    assert printable("curl/8\r\nfake: line\x00\x1b[31m\u202e") == "curl/8fake: line[31m"
    assert printable("Mozilla/5.0 (Ünïcode)") == "Mozilla/5.0 (Ünïcode)"


async def test_a_session_shows_the_address_that_counts(client: AsyncClient, ada: Person, session: SignedIn) -> None:
    other = await log_in(client, ada, ip="1.1.1.1, [2001:db8:1:2::9%eth0]:50123, 127.0.0.1")

    items = (await session.ask("GET", "/me/sessions")).json()["items"]

    assert {item["ip_address"] for item in items if item["id"] == other.id} == {"2001:db8:1:2::9"}


async def test_no_user_agent_breaks_a_sign_in(client: AsyncClient, ada: Person) -> None:
    agent = (b"User-Agent", b"\xff\x1b[31m\t" + b"x" * 5000)
    credentials = {"username": ada.username, "password": ada.password}

    answer = await client.post("/login", json=credentials, headers=[agent])

    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    (item,) = (await client.get("/me/sessions", headers=headers)).json()["items"]

    assert item["user_agent"].startswith("ÿ[31mxxx")
    assert len(item["user_agent"]) == 512


def test_a_hop_that_is_longer_than_any_address_is_none_and_is_not_remembered() -> None:
    assert address(f"198.51.100.1{' ' * 60_000}") is None
    assert address(" [2001:db8::1%eth0]:65535 ") is not None
