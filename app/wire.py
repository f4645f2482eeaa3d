"""Asking another server over HTTP/1.1, at addresses that were looked at."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpcore2
from httpcore2 import AnyIOBackend, AsyncConnectionPool, AsyncNetworkBackend, AsyncNetworkStream

from app.outbound import Answer, Away, TooLong, Untrusted

SIP = 4096  # bytes that are read and parsed in one go: in chunks of one byte each they take some 10 ms


class Wire:
    """Makes a connection for each exchange: one that rests may have been broken off when it is needed."""

    def __init__(self, ca_file: Path | None) -> None:
        self._context = httpcore2.default_ssl_context(_trust_env=False)
        if ca_file is not None:
            self._context.load_verify_locations(ca_file)

    async def exchange(
        self,
        method: str,
        url: str,
        seconds: float,
        headers: Mapping[str, str],
        content: bytes,
        most: int,
        *,
        checked: bool,
    ) -> Answer:
        """See `Outbound.ask`; `checked` if only an address of the public Internet may be asked."""
        network = Public() if checked else Direct()
        try:
            async with asyncio.timeout(seconds), AsyncConnectionPool(self._context, network_backend=network) as pool:
                return await _exchange(pool, method, url, headers, content, most)
        except (TimeoutError, httpcore2.TimeoutException):
            raise Away(f"no answer within {seconds:g} s") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
            if isinstance(cause, ssl.SSLError) and cause.reason and not isinstance(cause, ssl.SSLEOFError):
                raise Untrusted(f"TLS: {cause.reason}") from None
            raise Away(type(cause).__name__) from None
        finally:
            await network.close()


async def _exchange(
    pool: AsyncConnectionPool, method: str, url: str, headers: Mapping[str, str], content: bytes, most: int
) -> Answer:
    sent = {"Host": urlsplit(url).netloc, "User-Agent": "Gatehouse", "Accept-Encoding": "identity", **headers}
    if content or method == "POST":
        sent["Content-Length"] = str(len(content))
    pairs: list[tuple[bytes | str, bytes | str]] = [*sent.items(), ("Connection", "close")]
    async with pool.stream(method, url, headers=pairs, content=content) as response:
        received = bytearray()
        async for chunk in response.aiter_stream():
            received += chunk
            if len(received) > most:
                raise TooLong(f"more than {most} bytes")
        heads = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers)
        return Answer(response.status, heads, bytes(received))


class Direct(AsyncNetworkBackend):
    """Connects wherever the name leads, for one exchange."""

    def __init__(self) -> None:
        self._backend = AnyIOBackend()
        self._streams: list[AsyncNetworkStream] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """To the first that can be reached of the addresses."""
        *others, last = await self.addresses(host, port)
        for address in others:
            with suppress(httpcore2.ConnectError):
                return await self._connect(address, port, timeout, local_address, socket_options)
        return await self._connect(last, port, timeout, local_address, socket_options)

    async def addresses(self, host: str, port: int) -> list[str]:  # noqa: ARG002 - for who looks it up
        """Where to look for this host, at least one."""
        return [host]

    async def _connect(self, *to: Any) -> AsyncNetworkStream:  # noqa: ANN401 - as `connect_tcp` is called
        stream = await self._backend.connect_tcp(*to)
        self._streams.append(stream)
        return Sips(stream)

    async def close(self) -> None:
        """Also what the pool does not know: a connection that was given up while TLS began."""
        for stream in self._streams:
            await stream.aclose()


class Sips(AsyncNetworkStream):
    """Reads little at a time and gives way in between: what was read at once is parsed at once on the event loop."""

    def __init__(self, stream: AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        await asyncio.sleep(0)
        return await self._stream.read(min(max_bytes, SIP), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the same
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the same
    ) -> AsyncNetworkStream:
        return Sips(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the same
        return self._stream.get_extra_info(info)


class Public(Direct):
    """Connects to addresses of the public Internet alone: those that were looked at, not those of a second look."""

    async def addresses(self, host: str, port: int) -> list[str]:
        """The host's own.

        Raises:
            Untrusted: one of them is private: whoever names it means a host behind our walls.
        """
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        if not all(is_public(address) for address in addresses):
            raise Untrusted("an address that is not of the public Internet")
        return addresses


GLOBAL = ipaddress.ip_network("2000::/3")  # RFC 4291 §2.4
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052 §2.1: the Internet of IPv4, seen from a network without it
OWN = ipaddress.ip_network("192.0.0.0/24")  # RFC 6890: of protocols, and of the host's own translators


def is_public(address: str) -> bool:
    """Whether an address is one of the public Internet; of one within another it is the inner one that counts."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return found.is_global and not found.is_multicast and found not in OWN
    inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in NAT64 else found.ipv4_mapped
    if inner is not None:
        return is_public(str(inner))
    return found in GLOBAL and found.is_global and found.sixtofour is None and found.teredo is None
