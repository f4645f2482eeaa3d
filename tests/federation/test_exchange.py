"""The code that an application exchanges: once, within a minute, and only by the verifier that is its own."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from http.cookies import SimpleCookie

import pytest
from httpx import AsyncClient
from msgspec import structs

from app.federation import queries as federation
from app.identity import queries
from app.identity.identities import IdentityCode
from app.identity.structs import Exchange
from app.parts import Parts
from app.settings import Settings
from db import locks
from tests.federation.kit import Browser, exchange, s256, without_a_jar
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import Realm
from tests.identity.kit import events
from tests.kit import SignedIn, blocked_on_a_lock, log_in, new_name, problem, register
from tests.replica import Replica, serving
from tests.servers import Servers, without_limits

AT_ONCE = 50


async def number(parts: Parts, query: str, *arguments: object) -> float:
    row = await parts.db.fetchrow(query, *arguments)
    assert row is not None
    found: float = row[0]
    return found


async def refused(app: AsyncClient, code: str, verifier: str) -> None:
    problem(await exchange(app, code, verifier), 401, "invalid_grant")


async def test_a_code_is_good_once(browser: Browser, op: OpenIdProvider) -> None:
    code, verifier = await browser.code(op, op.register())
    assert (await exchange(browser.app, code, verifier)).status_code == 200

    for _ in range(2):
        await refused(browser.app, code, verifier)


async def test_a_wrong_verifier_uses_the_code_up(browser: Browser, op: OpenIdProvider, parts: Parts) -> None:
    """Who has the code alone has one try at 256 bits; and no account is made on the way."""
    before = await number(parts, "SELECT count(*) FROM users")
    for wrong in (secrets.token_urlsafe(32), "a" * 43, "a" * 128):
        code, verifier = await browser.code(op, op.register())

        await refused(browser.app, code, wrong)
        await refused(browser.app, code, verifier)

    assert await number(parts, "SELECT count(*) FROM users") == before


async def test_the_challenge_is_no_verifier(browser: Browser, op: OpenIdProvider) -> None:
    """Nor is the other's: `plain` is no method here (RFC 9700 §2.1.1)."""
    code, verifier = await browser.code(op, op.register())

    await refused(browser.app, code, s256(verifier))


async def test_the_verifier_of_another_sign_in_is_wrong(browser: Browser, op: OpenIdProvider) -> None:
    """Code injection: a stolen code in the attacker's own sign-in."""
    stolen, _ = await browser.code(op, op.register())
    _, own = await browser.code(op, op.register())

    await refused(browser.app, stolen, own)


@pytest.mark.parametrize("verifier", ["", "a" * 42, "a" * 129, "a" * 43 + "!", "ä" * 43, " " * 43])
async def test_what_is_no_verifier_is_said_to_be_none_and_uses_nothing_up(
    browser: Browser, op: OpenIdProvider, verifier: str
) -> None:
    code, own = await browser.code(op, op.register())

    problem(await exchange(browser.app, code, verifier), 422, "validation_failed")

    assert (await exchange(browser.app, code, own)).status_code == 200


async def test_a_code_is_good_for_a_minute(browser: Browser, op: OpenIdProvider, parts: Parts) -> None:
    code, verifier = await browser.code(op, op.register())
    left = await number(
        parts,
        "SELECT extract(epoch FROM exchange_until - clock_timestamp()) FROM sign_ins WHERE exchange_until IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
    )
    assert 30 < left <= 60
    await parts.db.execute("UPDATE sign_ins SET exchange_until = clock_timestamp() WHERE exchange_until IS NOT NULL")

    await refused(browser.app, code, verifier)


async def test_a_code_that_is_none_is_refused_like_one_that_was_used(browser: Browser, op: OpenIdProvider) -> None:
    code, verifier = await browser.code(op, op.register())
    session = await log_in(browser.app, await register(browser.app))
    changed = code[:-2] + ("aa" if code[-2:] != "aa" else "bb")

    for wrong in ("x", changed, code.swapcase(), f"{code}=", session.refresh_token, session.access[:256], "a" * 256):
        await refused(browser.app, wrong, verifier)

    for other in ({"refresh_token": code}, {"mfa_token": code, "code": "123456"}, {"token": code}):
        path = {"refresh_token": "/refresh", "mfa_token": "/login/mfa", "token": "/email/verify"}[next(iter(other))]
        assert (await browser.app.post(path, json=other)).status_code == 401
    assert (await exchange(browser.app, code, verifier)).status_code == 200


async def test_the_session_is_as_after_any_login(browser: Browser, op: OpenIdProvider, parts: Parts) -> None:
    ada = op.register()
    answer = await browser.sign_in(op, ada, transport="cookie", device_name="Ada's laptop")

    session = SignedIn(browser.app, answer.json())
    assert "refresh_token" not in answer.json()
    (line,) = answer.headers.get_list("set-cookie")
    (name,) = SimpleCookie(line)
    assert name == "__Host-gatehouse-refresh"
    assert answer.headers["cache-control"] == "no-store"
    (own,) = (await session.ask("GET", "/me/sessions")).json()["items"]
    assert (own["device_name"], own["amr"], own["current"]) == ("Ada's laptop", ["fed"], True)
    assert (await browser.signed_in(op, ada)).user_id == session.user_id
    assert [event for event, _ in await events(parts, session.user_id)].count("login.succeeded") == 2
    await (await browser.signed_in(op, ada)).refreshed()


async def test_a_provider_that_is_no_more_signs_nobody_in(
    browser: Browser, op: OpenIdProvider, realm: Realm, settings: Settings
) -> None:
    """Not by a code that was given out before, either."""
    code, verifier = await browser.code(op, op.register())
    known = realm.known_to(settings)
    others = tuple(each for each in known.oidc_providers if each.name != op.name)
    async with serving(replace(known, oidc_providers=others)) as after:
        await refused(after.client, code, verifier)


async def test_a_provider_that_is_another_now_signs_nobody_in(
    browser: Browser, op: OpenIdProvider, realm: Realm, settings: Settings
) -> None:
    """Of the same name; a subject there is somebody else."""
    code, verifier = await browser.code(op, op.register())
    known = realm.known_to(settings, [op.name])
    (said,) = known.oidc_providers
    another = structs.replace(said, issuer=realm.take().issuer)
    async with serving(replace(known, oidc_providers=(another,))) as after:
        await refused(after.client, code, verifier)


async def test_nobody_is_kept_out_by_who_has_taken_his_names(browser: Browser, op: OpenIdProvider) -> None:
    """Also the one that is made of his subject, which somebody who knows that can foresee."""
    name = new_name()
    own = hashlib.sha256(f"{op.issuer} {name}".encode()).hexdigest()[:8]
    for taken in (name, f"{name}~{own}"):
        await browser.signed_in(op, op.register(preferred_username=taken))

    session = await browser.signed_in(op, op.register(sub=name, preferred_username=name))

    assert session.body["user"]["username"].startswith(f"{name}~")


async def test_an_address_that_is_taken_at_this_moment_is_nobody_elses(
    browser: Browser, op: OpenIdProvider, parts: Parts
) -> None:
    email = f"{new_name()}@example.org"
    code = await browser.code(op, op.register(email=email, email_verified=True))
    async with parts.db.transaction() as tx:
        await queries.add(tx, username=new_name(), email=email, full_name=None, password_hash=None)
        exchanging = asyncio.create_task(exchange(browser.app, *code))
        await blocked_on_a_lock(parts)

    problem(await exchanging, 409, "conflict")


async def test_an_identity_that_is_taken_away_meanwhile_signs_nobody_in(
    browser: Browser, op: OpenIdProvider, parts: Parts
) -> None:
    ada = op.register()
    user_id = (await browser.signed_in(op, ada)).user_id
    code = await browser.code(op, ada)
    async with parts.db.transaction() as tx:
        await tx.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", user_id)
        exchanging = asyncio.create_task(exchange(browser.app, *code))
        await blocked_on_a_lock(parts)
        await tx.execute("DELETE FROM identities WHERE user_id = $1", user_id)

    problem(await exchanging, 401, "invalid_grant")


async def test_of_two_first_sign_ins_the_second_finds_what_the_first_has_made(
    browser: Browser, op: OpenIdProvider, parts: Parts
) -> None:
    ada = op.register()
    codes = [await browser.code(op, ada) for _ in range(2)]
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = $1"
    async with parts.db.transaction() as tx:
        await federation.hold_subject(tx, op.issuer, ada)
        exchanging = [asyncio.create_task(exchange(browser.app, *code)) for code in codes]
        async with asyncio.timeout(20):
            while await number(parts, waiting, locks.IDENTITIES) < len(codes):
                await asyncio.sleep(0.01)

    answers = await asyncio.gather(*exchanging)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.json()["user"]["id"] for answer in answers}) == 1


def test_what_is_sent_to_exchange_does_not_print() -> None:
    for kind in (Exchange, IdentityCode):
        assert "secret" not in repr(kind(code="secret", code_verifier="secret"))


# ---- at the same moment ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def houses(
    house: Replica, whole_realm: Realm, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[AsyncClient]]:
    """Two servers in processes of their own beside the application of this one, who know some of its providers."""
    known = without_limits(whole_realm.known_to(settings, RACED))
    async with Servers(known, tmp_path_factory.mktemp("houses"), 2) as servers:
        yield [without_a_jar(client) for client in servers.clients]


RACED = ("raced-0", "raced-1", "raced-2")


async def test_of_fifty_who_exchange_one_code_at_once_one_gets_a_session(
    browser: Browser, realm: Realm, houses: list[AsyncClient], parts: Parts
) -> None:
    op = realm.take("raced")
    ada = op.register()
    user_id = (await browser.signed_in(op, ada)).user_id
    code, verifier = await browser.code(op, ada)

    answers = await asyncio.gather(*(exchange(houses[n % 2], code, verifier) for n in range(AT_ONCE)))

    assert sorted(answer.status_code for answer in answers) == [200, *[401] * (AT_ONCE - 1)]
    assert await number(parts, "SELECT count(*) FROM sessions WHERE user_id = $1", user_id) == 2


async def test_of_fifty_first_sign_ins_of_one_identity_at_once_comes_one_user(
    new_browser: Callable[[], Browser], realm: Realm, houses: list[AsyncClient], parts: Parts
) -> None:
    op = realm.take("raced")
    ada = op.register(email=f"{new_name()}@example.org", email_verified=True, preferred_username=new_name())
    codes = [await new_browser().code(op, ada) for _ in range(AT_ONCE)]

    answers = await asyncio.gather(*(exchange(houses[n % 2], *codes[n]) for n in range(AT_ONCE)))

    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers][:3]
    (user_id,) = {answer.json()["user"]["id"] for answer in answers}
    assert await number(parts, "SELECT count(*) FROM users WHERE provider = $1", op.name) == 1
    assert await number(parts, "SELECT count(*) FROM sessions WHERE user_id = $1", user_id) == AT_ONCE
    names = [event for event, _ in await events(parts, user_id)]
    assert (names.count("user.registered"), names.count("identity.linked")) == (1, 1)


async def test_of_twenty_newcomers_of_one_name_and_address_at_once_one_gets_the_address(
    new_browser: Callable[[], Browser], realm: Realm, houses: list[AsyncClient], parts: Parts
) -> None:
    """Nobody gets another's account, and nobody a 500."""
    op = realm.take("raced")
    email, name = f"{new_name()}@example.org", new_name()
    people = [op.register(email=email, email_verified=True, preferred_username=name) for _ in range(20)]
    codes = [await new_browser().code(op, person) for person in people]

    answers = await asyncio.gather(*(exchange(houses[n % 2], *code) for n, code in enumerate(codes)))

    assert [answer.status_code for answer in answers].count(200) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code != 200} <= {"email_taken", "conflict"}
    assert await number(parts, "SELECT count(*) FROM users WHERE email = $1", email) == 1
