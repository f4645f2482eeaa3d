"""A network of the test's own: names that have the addresses it says, and a way to them that leads to loopback."""

import socket
from typing import Any

import pytest
from httpcore2 import AnyIOBackend, AsyncNetworkStream, ConnectError

SECONDS = 20.0  # more than any test takes
PUBLIC, ANOTHER_PUBLIC = "93.184.216.34", "2606:2800:220:1::1"
NAME = "op.example"


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
