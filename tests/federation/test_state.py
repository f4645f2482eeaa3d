"""What a browser brings back: its own sign-in, once, in time, and whatever else is refused alike."""

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from httpx import AsyncClient, Response

from app import base64url
from app.federation import sign_ins
from tests.federation.kit import HTML, PREFIX, Browser, Flow, code_of, exchange, query_of, s256
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import APP, Realm
from tests.federation.refusals import page
from tests.kit import from_ip, problem

MINUTE = 60  # seconds


async def ready(browser: Browser, op: OpenIdProvider) -> tuple[Flow, str]:
    """A sign-in that wants nothing but the way back."""
    flow = await browser.start(op)
    return flow, await browser.at_provider(flow, op.register())


async def invalid(browser: Browser, url: str, realm: Realm, op: OpenIdProvider) -> None:
    """As a problem and as a page; nobody is asked, and the browser keeps what it has."""
    kept = dict(browser.cookies)
    for browser.accept in ("application/json", HTML):
        answer = await browser.get(url)
        if browser.accept == HTML:
            page(answer, 400, "invalid_state")
        else:
            problem(answer, 400, "invalid_state")
        assert "location" not in answer.headers
    assert browser.cookies == kept
    assert f"{op.prefix}/token" not in realm.server.counts


# ---- the cookie -----------------------------------------------------------------------------------------------------


async def test_the_cookie_is_for_this_host_by_tls_and_for_no_script(app: AsyncClient, op: OpenIdProvider) -> None:
    asked = {"redirect_to": APP, "code_challenge": s256("a")}

    answer = await app.get(f"/oauth/{op.name}/start", params=asked, headers=from_ip())

    (line,) = answer.headers.get_list("set-cookie")
    pair, *attributes = line.split("; ")
    assert pair.partition("=")[0] == f"{PREFIX}{query_of(answer.headers['location'])['state'][:8]}"
    assert {each.lower() for each in attributes} == {"httponly", "secure", "samesite=lax", "path=/", "max-age=600"}
    assert len(line) < 1500  # five of them fit into what any server takes


async def test_the_cookie_says_nothing_to_who_reads_it(browser: Browser, op: OpenIdProvider) -> None:
    """Its value is sealed: neither our verifier nor the nonce can be read or changed."""
    flow = await browser.start(op)
    (sealed,) = browser.cookies.values()
    asked = query_of(flow.location)

    raw = base64url.decode(sealed)

    for secret in (asked["nonce"], asked["state"], asked["code_challenge"], s256(flow.verifier), APP, op.name):
        assert secret.encode() not in raw
    await browser.start(op)
    assert len(set(browser.cookies.values())) == 2


# ---- whose it is ----------------------------------------------------------------------------------------------------


async def test_who_has_no_cookie_did_not_begin(
    new_browser: Callable[[], Browser], op: OpenIdProvider, realm: Realm
) -> None:
    """Somebody whom a link of an attacker's has led here would be signed in as the attacker."""
    _, url = await ready(new_browser(), op)

    await invalid(new_browser(), url, realm, op)


async def test_two_browsers_with_each_others_cookies_get_nowhere(
    new_browser: Callable[[], Browser], op: OpenIdProvider, realm: Realm
) -> None:
    hers, his = new_browser(), new_browser()
    (_, her_url), (_, his_url) = await ready(hers, op), await ready(his, op)
    hers.cookies, his.cookies = his.cookies, hers.cookies

    await invalid(hers, her_url, realm, op)
    await invalid(his, his_url, realm, op)


async def test_the_cookie_of_another_sign_in_under_this_name_is_none(
    new_browser: Callable[[], Browser], op: OpenIdProvider, realm: Realm
) -> None:
    hers, his = new_browser(), new_browser()
    flow, url = await ready(hers, op)
    await ready(his, op)
    (value,) = his.cookies.values()
    hers.cookies = {flow.cookie: value}

    await invalid(hers, url, realm, op)


async def test_a_cookie_that_is_there_twice_is_none(browser: Browser, op: OpenIdProvider, realm: Realm) -> None:
    flow, url = await ready(browser, op)
    browser.cookies = {flow.cookie: f"{browser.cookies[flow.cookie]}; {flow.cookie}={browser.cookies[flow.cookie]}"}

    await invalid(browser, url, realm, op)


@pytest.mark.parametrize("at", [0, 10, 40, -1])
async def test_a_cookie_with_another_letter_is_none(
    browser: Browser, op: OpenIdProvider, realm: Realm, at: int
) -> None:
    flow, url = await ready(browser, op)
    raw = bytearray(base64url.decode(browser.cookies[flow.cookie]))
    raw[at] ^= 1
    browser.cookies[flow.cookie] = base64url.encode(bytes(raw))

    await invalid(browser, url, realm, op)


@pytest.mark.parametrize("value", ["", "a", "====", "a" * 3000, "%00", '"x"', "é"])
async def test_a_cookie_of_rubbish_is_none(browser: Browser, op: OpenIdProvider, realm: Realm, value: str) -> None:
    flow, url = await ready(browser, op)
    browser.cookies[flow.cookie] = value

    await invalid(browser, url, realm, op)


# ---- the state ------------------------------------------------------------------------------------------------------


STATES: dict[str, Callable[[str], str | None]] = {
    "none": lambda _: None,
    "empty": lambda _: "",
    "its beginning": lambda state: state[:8],
    "all but its end": lambda state: state[:-1],
    "and more": lambda state: f"{state}a",
    "another end": lambda state: state[:-1] + ("a" if state[-1] != "a" else "b"),
    "other letters": str.swapcase,
    "another of this name": lambda state: f"{state[:8]}{'a' * 24}",
    "a blank in front": lambda state: f" {state}",
    "a script": lambda _: "<script>alert(1)</script>",
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
async def test_another_state_is_none(
    browser: Browser, op: OpenIdProvider, realm: Realm, change: Callable[[str], str | None]
) -> None:
    flow, url = await ready(browser, op)
    query = {"code": query_of(url)["code"], "state": change(flow.state)}
    said = urlencode({name: value for name, value in query.items() if value is not None})

    await invalid(browser, f"{op.redirect_uri}?{said}", realm, op)


async def test_what_a_provider_or_anybody_puts_into_the_way_back_is_not_said_again(
    browser: Browser, op: OpenIdProvider
) -> None:
    browser.accept = HTML
    mark = "<img src=x onerror=alert(1)>"
    for query in ({"state": mark}, {"error": mark, "error_description": mark}, {"code": mark, "iss": mark}):
        answer = await browser.get(f"{op.redirect_uri}?{urlencode(query)}")

        page(answer, 400, "invalid_state")
        assert "img" not in answer.text


async def test_a_state_of_another_provider_is_none(browser: Browser, op: OpenIdProvider, realm: Realm) -> None:
    """Mix-up: the code of one provider is not shown to another (RFC 9700 §4.4)."""
    another = realm.take()
    _, url = await ready(browser, op)

    await invalid(browser, url.replace(op.redirect_uri, another.redirect_uri), realm, another)

    assert f"{op.prefix}/token" not in realm.server.counts


@pytest.mark.parametrize(("age", "is_good"), [(9 * MINUTE, True), (10 * MINUTE + 1, False), (24 * 60 * MINUTE, False)])
async def test_the_way_there_and_back_has_ten_minutes(
    browser: Browser,
    op: OpenIdProvider,
    realm: Realm,
    monkeypatch: pytest.MonkeyPatch,
    age: int,
    is_good: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sign_ins, "time", SimpleNamespace(time=lambda: time.time() - age))
        _, url = await ready(browser, op)

    answer = await browser.get(url)

    if is_good:
        code_of(answer)
    else:
        problem(answer, 400, "invalid_state")
        assert f"{op.prefix}/token" not in realm.server.counts


# ---- once -----------------------------------------------------------------------------------------------------------


async def test_a_browser_comes_back_once(browser: Browser, op: OpenIdProvider, realm: Realm) -> None:
    flow, url = await ready(browser, op)
    kept = dict(browser.cookies)
    first = await browser.get(url)
    browser.cookies = kept

    again = await browser.get(url)

    problem(again, 400, "invalid_state")
    assert realm.server.counts[f"{op.prefix}/token"] == 1
    assert (await exchange(browser.app, code_of(first), flow.verifier)).status_code == 200


async def test_of_many_that_come_back_at_once_one_is_let_in(
    new_browser: Callable[[], Browser], op: OpenIdProvider, realm: Realm
) -> None:
    browser = new_browser()
    _, url = await ready(browser, op)
    many = [new_browser() for _ in range(20)]
    for each in many:
        each.cookies = dict(browser.cookies)

    answers = await asyncio.gather(*(each.get(url) for each in many))

    assert sorted(answer.status_code for answer in answers) == [302, *[400] * 19]
    assert realm.server.counts[f"{op.prefix}/token"] == 1


@pytest.mark.parametrize("lie", [{"aud": "another-client"}, {}])
async def test_a_state_is_used_up_also_where_it_came_to_nothing(
    browser: Browser, op: OpenIdProvider, lie: dict[str, str]
) -> None:
    op.claims.update(lie)
    if not lie:
        op.back = {"error": "access_denied"}
    _, url = await ready(browser, op)
    kept = dict(browser.cookies)
    await browser.get(url)
    browser.cookies, op.claims = kept, {}

    problem(await browser.get(url), 400, "invalid_state")


# ---- tabs -----------------------------------------------------------------------------------------------------------


async def test_two_tabs_at_once_both_sign_in(browser: Browser, op: OpenIdProvider, realm: Realm) -> None:
    """In either order, and with different providers."""
    another = realm.take()
    first, first_url = await ready(browser, op)
    second, second_url = await ready(browser, another)
    third, third_url = await ready(browser, op)

    answers: list[tuple[Flow, Response]] = []
    for flow, url in ((second, second_url), (third, third_url), (first, first_url)):
        answers.append((flow, await browser.get(url)))

    for flow, answer in answers:
        assert (await exchange(browser.app, code_of(answer), flow.verifier)).status_code == 200
    assert browser.cookies == {}


async def test_a_page_that_opens_windows_does_not_fill_the_browsers_headers(
    browser: Browser, op: OpenIdProvider
) -> None:
    for _ in range(30):
        await browser.start(op)
        assert len(browser.cookies) <= 6

    flow, url = await ready(browser, op)
    assert (await exchange(browser.app, code_of(await browser.get(url)), flow.verifier)).status_code == 200


async def test_of_a_thousand_cookies_a_thousand_are_not_written_back(app: AsyncClient, op: OpenIdProvider) -> None:
    sent = "; ".join(f"{PREFIX}{number:08}=" for number in range(1000))
    asked = {"redirect_to": APP, "code_challenge": s256("a")}

    answer = await app.get(f"/oauth/{op.name}/start", params=asked, headers={**from_ip(), "Cookie": sent})

    assert answer.status_code == 302, answer.text
    assert len(answer.headers.get_list("set-cookie")) <= 21


async def test_cookies_that_are_none_of_ours_break_nothing(browser: Browser, op: OpenIdProvider) -> None:
    """Only such names are written back as ours have; others, of whatever characters, stay as they are."""
    browser.cookies = {f"{PREFIX}{name}": "x" for name in ('a"b', "a b", "@", "(x)", "abc", "123456789")}
    theirs = set(browser.cookies)

    await browser.signed_in(op, op.register())

    assert set(browser.cookies) == theirs
