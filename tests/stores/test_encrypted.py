"""valkeys:// to real servers: Redis 7 of Debian, with TLS alone, which asks us for a certificate as well."""

import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from valkey.exceptions import ValkeyError

from app.cache.link import find
from app.cli import children, files
from app.valkey_url import parse
from tests.replica import Start
from tests.stores.pair import Pair, signed_in
from tests.stores.valkeys import PASSWORD, SERVICE, Member


class Encrypted(Member):
    """A server, or the sentinel that watches one, at 127.0.0.1 by its certificate."""

    def __init__(self, directory: Path, authority: trustme.CA, watched: "Encrypted | None" = None) -> None:
        super().__init__(directory, PASSWORD)
        self._authority = authority
        self._watched = watched

    @property
    def parameters(self) -> str:
        """What a client of this authority gives in its URL."""
        trusted, own = self.directory / "authority.pem", self.directory / "own.pem"
        return f"ssl_ca_certs={trusted}&ssl_certfile={own}&ssl_keyfile={own}"

    def _prepare(self) -> None:
        own = self._authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes().decode()
        files.replace(self.directory / "own.pem", own, children.account())
        trusted = self._authority.cert_pem.bytes().decode()
        files.replace(self.directory / "authority.pem", trusted, children.account())

    def _command(self) -> list[str | Path]:
        _, config = super()._command()
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is needed: make test-stores"
        return [program, config, *["--sentinel"] * bool(self._watched)]

    def _config(self) -> str:
        own = self.directory / "own.pem"
        lines = [
            f"bind {children.LOOPBACK}",
            "port 0",
            f"tls-port {self.port}",
            f"tls-cert-file {own}",
            f"tls-key-file {own}",
            f"tls-ca-cert-file {self.directory / 'authority.pem'}",
            "tls-auth-clients yes",
            "tls-replication yes",
            f"requirepass {PASSWORD}",
            f"dir {self.directory}",
            f"pidfile {self._pid_file()}",
        ]
        if self._watched is None:
            return "\n".join((*lines, 'save ""'))
        return "\n".join(
            (
                *lines,
                f"sentinel monitor {SERVICE} {children.LOOPBACK} {self._watched.port} 1",
                f"sentinel auth-pass {SERVICE} {PASSWORD}",
            )
        )

    def _answers(self, _: object) -> bool:
        context = ssl.create_default_context(cafile=self.directory / "authority.pem")
        context.load_cert_chain(self.directory / "own.pem")
        try:
            with (
                socket.create_connection((children.LOOPBACK, self.port), timeout=1.0) as plain,
                context.wrap_socket(plain, server_hostname=children.LOOPBACK) as link,
            ):
                link.sendall(f"AUTH {PASSWORD}\r\n".encode())
                return link.recv(16).startswith(b"+OK")
        except OSError:
            return False


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    with Encrypted(tmp_path_factory.mktemp("encrypted") / "server", trustme.CA()) as server:
        yield server


async def test_sessions_go_by_an_encrypted_way(start: Start, server: Encrypted) -> None:
    url = f"valkeys://:{PASSWORD}@127.0.0.1:{server.port}/0?{server.parameters}"
    pair = Pair(await start(valkey_url=url), await start(valkey_url=url))
    kept, ended = await signed_in(pair), await signed_in(pair)
    assert pair.connected()
    assert await pair.by_valkey(kept)

    assert (await ended.ask("POST", "/logout")).status_code == 204

    assert await pair.statuses(ended) == [401, 401]
    assert await pair.statuses(kept) == [200, 200]


async def test_who_cannot_show_who_he_is_is_refused(server: Encrypted) -> None:
    """The server by another name, or of an authority that we do not know; and we, without a certificate."""
    trusted = server.parameters.partition("&")[0]

    for url, words in (
        (f"valkeys://:{PASSWORD}@localhost:{server.port}?{server.parameters}", "certificate verify failed"),
        (f"valkeys://:{PASSWORD}@127.0.0.1:{server.port}", "certificate verify failed"),
        (f"valkeys://:{PASSWORD}@127.0.0.1:{server.port}?{trusted}", "certificate required|Connection"),
    ):
        with pytest.raises((ValkeyError, OSError), match=words):
            await find(parse(url))


async def test_sentinels_and_the_server_that_they_name_are_asked_alike(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    authority, directory = trustme.CA(), tmp_path_factory.mktemp("encrypted")
    with ExitStack() as stack:
        server = stack.enter_context(Encrypted(directory / "server", authority))
        sentinel = stack.enter_context(Encrypted(directory / "sentinel", authority, server))
        query = f"{server.parameters}&sentinel_password={PASSWORD}"

        found = await find(parse(f"valkeys+sentinel://:{PASSWORD}@127.0.0.1:{sentinel.port}/{SERVICE}?{query}"))

        assert found.servers[0].address == ("127.0.0.1", server.port)
        with pytest.raises(ValkeyError, match="no sentinel"):
            await find(parse(f"valkeys+sentinel://:{PASSWORD}@localhost:{sentinel.port}/{SERVICE}?{query}"))
