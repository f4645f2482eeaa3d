"""valkey+sentinel://: the server is whom most sentinels name; a real fail-over is in tests/stores."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from valkey.exceptions import ValkeyError

from app.cache.link import find
from app.valkey_url import parse
from tests.cache.conftest import Process, Start, as_ten_seconds_later, epoch
from tests.kit import until
from tests.stores.valkeys import SENTINELS, SERVICE, Member, Sentinel, sentinel_url

PASSWORD, OTHER = "of-the-servers", "of-the-sentinels"


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    directory = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        yield [stack.enter_context(Member(directory / name, PASSWORD)) for name in "ab"]


@pytest.fixture
def sentinels(tmp_path_factory: pytest.TempPathFactory, servers: list[Member]) -> Iterator[list[Sentinel]]:
    """They know the first of the servers."""
    directory = tmp_path_factory.mktemp("sentinels")
    with ExitStack() as stack:
        yield [stack.enter_context(Sentinel(directory / str(n), OTHER, servers[0])) for n in range(SENTINELS)]


def tell(sentinel: Sentinel, server: Member) -> None:
    """Have it know another primary."""
    sentinel.ask("SENTINEL", "REMOVE", SERVICE)
    sentinel.ask("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", server.port, 2)


def port(process: Process) -> int | None:
    """Of the server that it talks to."""
    link = process.entries.links.current
    return None if link is None else int(link.client.connection_pool.connection_kwargs["port"])


async def test_most_sentinels_are_right(start: Start, servers: list[Member], sentinels: list[Sentinel]) -> None:
    """One that knows another primary, and one that is away, mislead nobody; the next primary is another epoch."""
    tell(sentinels[0], servers[1])
    one = await start(valkey_url=sentinel_url(sentinels, PASSWORD, OTHER))
    await one.change("a", "1")
    assert port(one) == servers[0].port

    tell(sentinels[1], servers[1])
    sentinels[2].stop()
    await as_ten_seconds_later(one)
    servers[0].stop()

    assert await one.get("a") == ["1"]
    await until(lambda: port(one) == servers[1].port)
    assert await epoch(one) == 2


async def test_who_is_not_what_the_url_says_is_no_primary(servers: list[Member], sentinels: list[Sentinel]) -> None:
    known = sentinel_url(sentinels, PASSWORD, OTHER)
    assert (await find(parse(known))).servers[0].address == ("127.0.0.1", servers[0].port)

    for url, words in (
        (known.replace(SERVICE, "other"), "no sentinel"),
        (known.replace(OTHER, PASSWORD), "no sentinel"),
        (f"valkey://:{OTHER}@127.0.0.1:{sentinels[0].port}", "valkey.sentinel://"),
    ):
        with pytest.raises(ValkeyError, match=words):
            await find(parse(url))
