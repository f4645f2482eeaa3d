"""What a provider publishes, read where it takes long: nobody waits who need not, and nobody asks again at once."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from app.federation import published
from tests.federation.kit import Browser
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import Realm
from tests.federation.server import Asked, Reply, json
from tests.kit import problem


async def test_who_took_long_and_said_nothing_is_not_asked_again_at_once(
    browser: Browser, op: OpenIdProvider, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause begins when it is known that there is no answer, however long that took."""
    now = 1000.0

    async def after_long(_: Asked, __: Reply) -> Reply:
        nonlocal now
        now += 9
        return json({}, 500)

    monkeypatch.setattr(published, "time", SimpleNamespace(monotonic=lambda: now))
    op.told["discovery"] = after_long

    for _ in range(3):
        answer, _ = await browser.begin(op)
        problem(answer, 503, "unavailable")

    assert realm.server.counts[f"{op.prefix}/.well-known/openid-configuration"] == 1
    now += published.AWAY_SECONDS
    del op.told["discovery"]
    await browser.signed_in(op, op.register())


async def test_whoever_begins_does_not_wait_for_the_keys(browser: Browser, op: OpenIdProvider) -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    async def held(_: Asked, right: Reply) -> Reply:
        begun.set()
        await over.wait()
        return right

    op.told["keys"] = held
    flow = await browser.start(op)
    back = asyncio.create_task(browser.back(flow, op.register()))
    await begun.wait()

    await browser.start(op)

    assert not back.done()
    over.set()
    assert (await back).status_code == 302


async def test_what_many_ask_for_at_once_is_asked_for_once(
    new_browser: Callable[[], Browser], op: OpenIdProvider, realm: Realm
) -> None:
    await asyncio.gather(*(new_browser().signed_in(op, op.register()) for _ in range(20)))

    assert realm.server.counts[f"{op.prefix}/.well-known/openid-configuration"] == 1
    assert realm.server.counts[f"{op.prefix}/keys"] == 1
