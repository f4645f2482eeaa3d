"""What a query says of networks and times, in the form that PostgreSQL compares."""

import ipaddress
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from msgspec import Meta

from app.client import address
from app.errors import ValidationFailed

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
NetworkText = Annotated[str, Meta(max_length=64, description="An address, or a network in CIDR notation.")]


def network(text: str, field: str = "ip") -> Network:
    """A network; an address is one of a single host, and IPv4 within IPv6 is IPv4.

    Raises:
        ValidationFailed: it is neither.
    """
    try:
        return ipaddress.ip_network(address(text) or text, strict=False)
    except ValueError:
        raise ValidationFailed((field, "is neither an address nor a network (CIDR)")) from None


def utc(time: datetime, field: str) -> datetime:
    """Raises ValidationFailed where UTC has no such year."""
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValidationFailed((field, "is out of all time")) from None
