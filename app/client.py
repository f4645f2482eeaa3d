"""Who is at the other end: the address that counts, the user agent, the request's id."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct

from app.setting_values import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Client(Struct, frozen=True, kw_only=True):
    """What is recorded of a request beside what it asks."""

    ip: str  # as `address` writes it
    user_agent: str
    request_id: str

    @property
    def network(self) -> str:
        """What limits count by: an IPv4 address, or the /64 that an IPv6 site owns whole (RFC 6177)."""
        return str(ipaddress.ip_network((self.ip, 64), strict=False)) if ":" in self.ip else self.ip


LONGEST_HOP = 64  # characters: an IPv6 address with brackets, zone and port, and blanks around it
UNKNOWN = ipaddress.ip_address("0.0.0.0")  # noqa: S104 - not an address to bind: a peer without one (a Unix socket)


def address(text: str) -> Address | None:
    """An address, an IPv4 one mapped into IPv6 as the IPv4 one that it is; None for anything else.

    Some proxies write the port, too. A zone (`fe80::1%eth0`) says something on its own host alone, and is dropped.
    """
    return _address(text) if len(text) <= LONGEST_HOP else None


@lru_cache(4096)  # proxies and clients come again
def _address(text: str) -> Address | None:
    host = text.strip().partition("%")[0]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def client_ip(peer: str, forwarded_for: Iterable[str], trusted: tuple[Network, ...]) -> Address:
    """The peer, unless it is a trusted proxy: then the right-most hop that is not one.

    A hop that is no address ends the walk: what stands left of it was written by somebody unknown.
    """
    ip = address(peer) or UNKNOWN
    if not trusted or not _within(ip, trusted):
        return ip
    hops = [hop for line in forwarded_for for hop in line.split(",")]
    for hop in reversed(hops):
        found = address(hop)
        if found is None:
            return ip
        ip = found
        if not _within(found, trusted):
            return found
    return ip


def _within(ip: Address, networks: tuple[Network, ...]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)


def printable(text: str) -> str:
    """The text without control characters, so that it can neither break a log line nor be refused by PostgreSQL."""
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())
