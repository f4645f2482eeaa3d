"""A provider whose endpoints are slow, huge, broken or elsewhere: it is away, and nobody is asked who must not be."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient

from app import providers
from app.federation import answers, configured
from app.federation.answers import ProviderUnusable
from app.outbound import Outbound
from app.parts import Parts
from app.settings import Settings
from tests.federation.kit import Browser, s256, traces, without_a_jar
from tests.federation.lies import ANYWHERE, TOKENS
from tests.federation.provider import CLIENT_ID, CLIENT_SECRET, MISSING, OpenIdProvider, Told, held_until, instead
from tests.federation.realm import Realm
from tests.federation.refusals import refused, unavailable
from tests.federation.server import Asked, Reply, Server, by_drops
from tests.kit import log_in, new_ip, register, until
from tests.replica import Replica, serving

CREDENTIALS = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.mark.parametrize("endpoint", ["discovery", "keys", "token", "userinfo"])
@pytest.mark.parametrize("lie", ANYWHERE.values(), ids=ANYWHERE)
async def test_an_endpoint_that_answers_what_it_should_not_is_as_if_it_were_away(
    browser: Browser, op: OpenIdProvider, parts: Parts, canary: Server, endpoint: str, lie: Callable[[str], Told]
) -> None:
    before = await traces(parts)
    ada = op.register()  # without an address, so that it is asked for
    op.told[endpoint] = lie(f"{canary.origin}/elsewhere")

    await unavailable(browser, op, ada, endpoint)

    assert await traces(parts) == before


@pytest.mark.parametrize("lie", TOKENS.values(), ids=TOKENS)
async def test_a_token_endpoint_that_gives_no_id_token_is_as_if_it_were_away(
    browser: Browser, op: OpenIdProvider, parts: Parts, lie: Told
) -> None:
    before = await traces(parts)
    op.told["token"] = lie

    await unavailable(browser, op, op.register(), "token")

    assert await traces(parts) == before


@pytest.mark.parametrize("token", ["é", "a\nb", " a", "日本", "\x01"])
async def test_an_access_token_that_fits_into_no_header_is_shown_to_nobody(
    browser: Browser, op: OpenIdProvider, realm: Realm, token: str
) -> None:
    ada = op.register()  # without an address, so that it would be asked for
    op.claims["at_hash"] = MISSING
    op.token_answer["access_token"] = token

    await unavailable(browser, op, ada, "token")

    assert f"{op.prefix}/userinfo" not in realm.server.counts


@pytest.mark.parametrize("endpoint", ["discovery", "keys", "token", "userinfo"])
async def test_all_endpoints_together_have_one_deadline(
    new_browser: Callable[[], Browser],
    op: OpenIdProvider,
    parts: Parts,
    monkeypatch: pytest.MonkeyPatch,
    over: asyncio.Event,
    endpoint: str,
) -> None:
    before = await traces(parts)
    browser, ada = new_browser(), op.register()
    if endpoint != "discovery":
        await new_browser().start(op)  # from now on it is known where to send somebody
    monkeypatch.setattr(answers, "SECONDS", 0.5)

    op.told[endpoint] = held_until(over)

    await unavailable(browser, op, ada, endpoint)

    assert await traces(parts) == before


async def test_an_answer_that_comes_by_drops_is_late_as_well(
    new_browser: Callable[[], Browser], op: OpenIdProvider, monkeypatch: pytest.MonkeyPatch, over: asyncio.Event
) -> None:
    async def dripping(_: Asked, right: Reply) -> Reply:
        assert isinstance(right.content, bytes)
        return Reply(200, right.headers, by_drops(right.content, over))

    await new_browser().start(op)
    monkeypatch.setattr(answers, "SECONDS", 0.5)
    op.told["token"] = dripping

    await refused(new_browser(), op, op.register(), 503, "unavailable")


async def test_a_provider_that_hangs_holds_up_nobody_else(
    new_browser: Callable[[], Browser], op: OpenIdProvider, realm: Realm, parts: Parts, over: asyncio.Event
) -> None:
    """No connection to a store is held meanwhile, however many wait."""
    another, number = realm.take(), 2 * parts.settings.database_pool_size
    op.told["token"] = held_until(over)
    browsers = [new_browser() for _ in range(number)]
    flows = [await browser.start(op) for browser in browsers]
    waiting = [
        asyncio.create_task(browser.back(flow, op.register())) for browser, flow in zip(browsers, flows, strict=True)
    ]
    await until(lambda: realm.server.counts[f"{op.prefix}/token"] == number)

    await new_browser().signed_in(another, another.register())

    over.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {302}


async def test_those_who_wait_for_a_slow_provider_shut_nobody_out_of_their_network(
    new_browser: Callable[[], Browser], op: OpenIdProvider, realm: Realm, app: AsyncClient, over: asyncio.Event
) -> None:
    """Nothing has failed, however many are under way."""
    op.told["token"] = held_until(over)
    browsers = [new_browser() for _ in range(8)]  # more than RATE_LIMIT_LOGIN lets fail
    ip = new_ip()
    for browser in browsers:
        browser.ip = ip
    flows = [await browser.start(op) for browser in browsers]
    waiting = [
        asyncio.create_task(browser.back(flow, op.register())) for browser, flow in zip(browsers, flows, strict=True)
    ]
    await until(lambda: realm.server.counts[f"{op.prefix}/token"] == len(browsers))

    await log_in(app, await register(app), ip=ip)

    over.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {302}


# ---- discovery ------------------------------------------------------------------------------------------------------

DISCOVERED: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://op.example"},
    "an issuer with a slash": {"issuer": "{issuer}/"},
    "an issuer in a list": {"issuer": ["{issuer}"]},
    "no issuer": {"issuer": MISSING},
    "no authorization endpoint": {"authorization_endpoint": MISSING},
    "an authorization endpoint that is null": {"authorization_endpoint": None},
    "an authorization endpoint that is a script": {"authorization_endpoint": "javascript:alert(1)"},
    "an authorization endpoint that is data": {"authorization_endpoint": "data:text/html,<script>alert(1)</script>"},
    "an authorization endpoint in the clear": {"authorization_endpoint": "{plain}/authorize"},
    "an authorization endpoint of two lines": {"authorization_endpoint": "{issuer}/authorize\r\nX: y"},
    "an authorization endpoint without a host": {"authorization_endpoint": "https:///authorize"},
    "an authorization endpoint with a user": {"authorization_endpoint": "https://x@127.0.0.1/authorize"},
    "an authorization endpoint with a fragment": {"authorization_endpoint": "{issuer}/authorize#a"},
    "no token endpoint": {"token_endpoint": MISSING},
    "no keys": {"jwks_uri": MISSING},
    "a token endpoint in a list": {"token_endpoint": ["{issuer}/token"]},
}


@pytest.mark.parametrize("said", DISCOVERED.values(), ids=DISCOVERED)
async def test_nobody_is_sent_to_a_provider_that_does_not_say_rightly_who_it_is_and_where(
    browser: Browser, op: OpenIdProvider, plain_canary: Server, said: dict[str, Any]
) -> None:
    op.metadata = {
        name: value.format(issuer=op.issuer, plain=plain_canary.origin) if isinstance(value, str) else value
        for name, value in said.items()
    }

    await unavailable(browser, op, "", "discovery")


ELSEWHERE = {
    "in the clear": "{plain}/elsewhere",
    "at a private address": "{canary}/elsewhere",
    "at a private name": "https://localhost:{port}/elsewhere",
    "of the machine's metadata": "http://169.254.169.254/latest/meta-data/",
    "with a user": "https://127.0.0.1@op.example/",
    "in a file": "file:///etc/passwd",
    "relative": "/token",
    "of two lines": "{issuer}/token\r\nX: y",
    "with a wrong port": "https://127.0.0.1:99999999/",
}


@pytest.mark.parametrize("endpoint", ["token_endpoint", "jwks_uri", "userinfo_endpoint"])
@pytest.mark.parametrize("url", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_nothing_is_asked_where_a_document_leads_behind_our_walls(
    browser: Browser,
    op: OpenIdProvider,
    parts: Parts,
    canary: Server,
    plain_canary: Server,
    endpoint: str,
    url: str,
) -> None:
    """No code, no secret and no token go there."""
    before = await traces(parts)
    op.metadata[endpoint] = url.format(
        canary=canary.origin, plain=plain_canary.origin, port=canary.port, issuer=op.issuer
    )

    await refused(browser, op, op.register(), 503, "unavailable")

    assert await traces(parts) == before


@pytest.mark.parametrize("endpoint", ["token_endpoint", "jwks_uri", "userinfo_endpoint"])
async def test_nor_where_another_setting_names_a_server_behind_our_walls(
    realm: Realm, settings: Settings, browser: Browser, canary: Server, endpoint: str
) -> None:
    """One provider's documents do not lead to another one."""
    op = realm.take()
    known = realm.known_to(settings)
    (own,) = providers.parse(json.dumps([{"name": op.name, "issuer": op.issuer, **CREDENTIALS}]))
    (another,) = providers.parse(json.dumps([{"name": "another", "issuer": f"{canary.origin}/a", **CREDENTIALS}]))
    op.metadata[endpoint] = f"{canary.origin}/elsewhere"

    async with serving(replace(known, oidc_providers=(own, another))) as house:
        browser.app = without_a_jar(house.client)
        await refused(browser, op, op.register(), 503, "unavailable")


async def test_what_is_wrong_with_a_provider_is_told_in_characters_that_print(
    house: Replica, op: OpenIdProvider
) -> None:
    """`gatehouse check` writes it to a terminal."""
    known = house.parts.settings
    outbound = Outbound([op.issuer], known.outbound_ca_file)
    op.told["discovery"] = instead(Reply(200, {"Content-Type": "a/\x1b[31m\x9b\x07"}, b"{}"))

    with pytest.raises(ProviderUnusable) as unusable:
        await configured.providers(known, outbound)[op.name].check()

    assert unusable.value.reason == "discovery: status 200, a/[31m"


async def test_a_provider_is_asked_by_no_more_at_a_time_than_it_has_places(
    new_browser: Callable[[], Browser], op: OpenIdProvider, realm: Realm, parts: Parts, over: asyncio.Event
) -> None:
    """Those above it wait; in the end all are served."""
    flows = [(browser := new_browser(), await browser.start(op)) for _ in range(answers.PLACES + 10)]
    ways_back = [(browser, await browser.at_provider(flow, op.register())) for browser, flow in flows]
    challenges = [s256(flow.verifier) for _, flow in flows]
    op.told["token"] = held_until(over)

    async def all_came_back() -> bool:
        rows = await parts.db.fetch("SELECT FROM sign_ins WHERE code_challenge = ANY($1::text[])", challenges)
        return len(rows) == len(flows)

    waiting = [asyncio.create_task(browser.get(url)) for browser, url in ways_back]
    await until(all_came_back)
    await until(lambda: realm.server.counts[f"{op.prefix}/token"] >= answers.PLACES)
    for browser, _ in flows:  # as much time as the others would need to get there as well
        await browser.web.get(f"{op.issuer}/keys")
    asked = realm.server.counts[f"{op.prefix}/token"]
    over.set()

    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [302] * len(flows)
    assert asked == answers.PLACES
