"""valkey+sentinel://: the primary is whom the sentinels name, and a fail-over lets nobody in and throws nobody out."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kit import SignedIn, until
from tests.replica import Start
from tests.stores.pair import Pair, signed_in
from tests.stores.valkeys import SERVICE, Watched


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(tmp_path_factory.mktemp("sentinel")).start(stack)


async def test_a_failover_lets_no_ended_session_in_and_ends_none(start: Start, watched: Watched) -> None:
    await watched.ready()
    pair = Pair(await start(valkey_url=watched.url), await start(valkey_url=watched.url))
    kept, before, during, after = [await signed_in(pair) for _ in range(4)]
    assert pair.connected()
    assert await pair.by_valkey(kept)
    assert (await before.ask("POST", "/logout")).status_code == 204
    assert await pair.statuses(before) == [401, 401]

    os.kill(watched.primary.pid, signal.SIGKILL)
    assert (await during.ask("POST", "/logout")).status_code == 204
    assert await pair.statuses(during) == [401, 401]
    assert await pair.statuses(kept) == [200, 200]
    await watched.promoted(watched.replica)
    await pair.later()

    await until(pair.connected)
    assert await pair.epoch() == 2
    assert (await after.ask("POST", "/logout", at=pair.there.client)).status_code == 204
    assert [await pair.statuses(each) for each in (before, during, after, kept)] == [[401, 401]] * 3 + [[200, 200]]
    await until(lambda: pair.by_valkey(kept))


async def test_a_primary_that_is_replaced_while_it_lives_is_left(start: Start, watched: Watched) -> None:
    await watched.ready()
    pair = Pair(await start(valkey_url=watched.url), await start(valkey_url=watched.url))
    kept, ended = await signed_in(pair), await signed_in(pair)
    await pair.later()

    watched.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
    await watched.promoted(watched.replica)
    assert (await ended.ask("POST", "/logout")).status_code == 204

    assert await pair.statuses(ended) == [401, 401]
    await until(lambda: not watched.primary.is_primary())
    await until(lambda: moved(pair, kept))
    assert await pair.statuses(ended) == [401, 401]
    assert await pair.statuses(kept) == [200, 200]
    await until(lambda: pair.by_valkey(kept))


async def moved(pair: Pair, session: SignedIn) -> bool:
    """The old one ends its connections, which shows when they are used."""
    await pair.statuses(session)
    return pair.connected() and await pair.epoch() == 2
