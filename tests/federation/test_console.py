"""To a provider and back by the pages of the console."""

import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

import jwt
import pytest
from httpx import AsyncClient, Response

from app.console.ways import MOST
from app.parts import Parts
from app.settings import Settings
from tests.console.kit import ACCESS, ACCOUNT, SIGN_IN, Browser, Page
from tests.federation.kit import query_of, s256, without_a_jar
from tests.federation.provider import OpenIdProvider
from tests.federation.realm import Authority, Realm
from tests.identity.factorkit import enrolled, long_ago
from tests.kit import BASE, SignedIn, from_ip, new_name, problem, register
from tests.replica import Replica

ORIGIN = "https://auth.example.test"
RETURN, CONFIRM, IDENTITIES = f"{SIGN_IN}/return", "/console/confirm", f"{ACCOUNT}/identities"
WAY = "__Host-gatehouse-console-way-"
SENSITIVE = f"{IDENTITIES}/link/nowhere"  # a 404, once the login is a present one

Fellow = Callable[[], Browser]


@pytest.fixture
def fellow(house: Replica) -> Fellow:
    """Somebody with a browser of his own."""
    return lambda: Browser(house.edge)


@pytest.fixture
def person(fellow: Fellow) -> Browser:
    return fellow()


@pytest.fixture
async def web(authority: Authority) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(verify=authority.trusting()) as web:
        yield without_a_jar(web)


def onwards_to(op: OpenIdProvider, onwards: str | None = None, page: str = SIGN_IN) -> str:
    return f"{page}/with/{op.name}" + (f"?next={quote(onwards)}" if onwards else "")


async def sent(person: Browser, path: str) -> str:
    """Where the provider is asked."""
    answer = await person.get(path)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def came_back(person: Browser, web: AsyncClient, location: str, subject: str) -> str:
    """The page of the console that the browser is led to, once this person has said yes there."""
    answer = await web.get(location, headers={"Cookie": f"person={quote(subject)}"})
    assert answer.status_code == 302, answer.text
    called = await person.get(answer.headers["location"].removeprefix(ORIGIN))
    assert called.status_code == 302, called.text
    back = str(called.headers["location"])
    assert back.startswith(f"{ORIGIN}/console/")
    return back.removeprefix(ORIGIN)


async def there_and_back(person: Browser, web: AsyncClient, path: str, subject: str) -> Page:
    return await person.open(await came_back(person, web, await sent(person, path), subject))


def session_of(person: Browser, client: AsyncClient) -> SignedIn:
    access = person.cookies[ACCESS]
    claims = jwt.decode(access, options={"verify_signature": False})
    return SignedIn(client, {"session_id": claims["sid"], "access_token": access})


# ---- signing in -----------------------------------------------------------------------------------------------------


async def test_a_button_leads_there_and_back_to_where_one_wanted_to_go(
    person: Browser, web: AsyncClient, op: OpenIdProvider
) -> None:
    subject = op.register(preferred_username=new_name())
    first = await person.open(f"{ACCOUNT}?a=b%20c")
    button = next(href for href in first.links.values() if href.startswith(onwards_to(op) + "?"))

    back = await came_back(person, web, await sent(person, button), subject)
    answer = await person.get(back)

    assert (answer.status_code, answer.headers["location"]) == (303, f"{ACCOUNT}?a=b%20c")
    assert await person.signed_in_as() == op.people[subject]["preferred_username"]
    assert [name for name in person.cookies if name.startswith((WAY, "__Host-gatehouse-oauth"))] == []


async def test_it_comes_back_once_and_in_no_other_browser(fellow: Fellow, web: AsyncClient, op: OpenIdProvider) -> None:
    subject = op.register()
    thief, person = fellow(), fellow()
    back = await came_back(person, web, await sent(person, onwards_to(op)), subject)

    stolen = await thief.open(back)
    assert (stolen.path, stolen.alerts[0][:18]) == (SIGN_IN, "This took too long")
    assert ACCESS not in thief.cookies
    way = {name: value for name, value in person.cookies.items() if name.startswith(WAY)}
    assert (await person.open(back)).path == ACCOUNT
    for name, value in way.items():
        thief.http.cookies.set(name, value, domain="auth.example.test", path="/")
    assert (await thief.open(back)).path == SIGN_IN
    assert ACCESS not in thief.cookies


async def test_nobody_is_signed_in_by_the_way_that_somebody_else_has_gone(
    fellow: Fellow, web: AsyncClient, op: OpenIdProvider
) -> None:
    attacker, victim = fellow(), fellow()
    back = await came_back(attacker, web, await sent(attacker, onwards_to(op)), op.register())
    await sent(victim, onwards_to(op))
    (own,) = [name.removeprefix(WAY) for name in victim.cookies if name.startswith(WAY)]

    code = query_of(back)["code"]
    for path in (back, f"{RETURN}?way={own}&code={quote(code)}"):
        assert (await victim.open(path)).path == SIGN_IN
    assert ACCESS not in victim.cookies


async def test_two_tabs_go_there_and_come_back(person: Browser, web: AsyncClient, op: OpenIdProvider) -> None:
    subject = op.register()
    first = await sent(person, onwards_to(op, f"{ACCOUNT}?tab=1"))
    second = await sent(person, onwards_to(op, f"{ACCOUNT}?tab=2"))

    back = [await came_back(person, web, each, subject) for each in (first, second)]
    answers = [await person.get(each) for each in reversed(back)]

    assert [each.headers["location"] for each in answers] == [f"{ACCOUNT}?tab=2", f"{ACCOUNT}?tab=1"]
    assert len(answers[1].headers.get_list("set-cookie")) == 1  # the way is gone, and the session stays


async def test_of_many_ways_that_were_begun_a_browser_keeps_few(person: Browser, op: OpenIdProvider) -> None:
    for _ in range(MOST + 2):
        await sent(person, onwards_to(op))

    assert 1 <= len([name for name in person.cookies if name.startswith(WAY)]) <= MOST


async def test_cookies_whose_names_are_made_up_are_not_written_back(person: Browser, op: OpenIdProvider) -> None:
    made_up = "; ".join(f"{WAY}({number})=x" for number in range(MOST))

    answer = await person.get(onwards_to(op), Cookie=made_up)

    assert answer.status_code == 303, answer.text
    assert "(" not in " ".join(answer.headers.get_list("set-cookie"))


@pytest.mark.parametrize("onwards", ["//evil.example", "https://evil.example", "/\\evil.example", "/console/../x"])
async def test_the_way_back_leads_to_no_other_site(
    person: Browser, web: AsyncClient, op: OpenIdProvider, onwards: str
) -> None:
    location = await sent(person, onwards_to(op, onwards))

    answer = await person.get(await came_back(person, web, location, op.register()))

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


async def test_a_page_of_others_sends_nobody_there(person: Browser, op: OpenIdProvider) -> None:
    answer = await person.get(onwards_to(op, ACCOUNT), Sec_Fetch_Site="cross-site")

    assert (answer.status_code, answer.headers["location"]) == (303, f"{SIGN_IN}?next={ACCOUNT}")
    assert [name for name in person.cookies if name.startswith(WAY)] == []


async def test_who_is_signed_in_is_sent_nowhere(person: Browser, app: AsyncClient, op: OpenIdProvider) -> None:
    ada = await register(app)
    await person.sign_in(ada)

    assert (await person.get(onwards_to(op, ACCOUNT))).headers["location"] == ACCOUNT
    assert (await person.get(f"{RETURN}?way=x&code=y")).headers["location"] == "/console"
    assert await person.signed_in_as() == ada.username


async def test_who_says_no_there_is_back_at_the_sign_in(person: Browser, op: OpenIdProvider, app: AsyncClient) -> None:
    location = await sent(person, onwards_to(op, ACCOUNT))
    state = quote(query_of(location)["state"])

    called = await person.get(f"{BASE}/oauth/{op.name}/callback?error=access_denied&state={state}")
    page = await person.open(called.headers["location"].removeprefix(ORIGIN))

    assert (page.path, page.form(SIGN_IN).fields["next"]) == (SIGN_IN, ACCOUNT)
    assert page.alerts == ["You were not signed in there. You can try again, or use another way."]


@pytest.mark.parametrize(
    "query", ["", "?way=x", "?way=AAAAAAAAAAA&code=x", "?code=x", "?way=%00", "?way=" + "x" * 3000]
)
async def test_who_did_not_set_out_does_not_come_back(person: Browser, query: str) -> None:
    answer = await person.get(RETURN + query)

    assert answer.status_code in (303, 400)
    assert answer.headers.get("location", SIGN_IN) == SIGN_IN
    garbled = {"Cookie": f"{WAY}AAAAAAAAAAA=garbage"}
    assert (await person.http.get(f"{RETURN}?way=AAAAAAAAAAA&code=x", headers=garbled)).status_code == 303


async def test_a_second_factor_of_ours_is_asked_for_and_leads_on(
    person: Browser, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    subject = op.register()
    await there_and_back(person, web, onwards_to(op), subject)
    name = str(await person.signed_in_as())
    authenticator = await enrolled(session_of(person, app))
    await person.send(await person.open(ACCOUNT), "/console/sign-out")

    page = await there_and_back(person, web, onwards_to(op, f"{ACCOUNT}?x=1"), subject)
    assert ACCESS not in person.cookies
    code = f"{SIGN_IN}/code"
    fields = page.form(code).fields | {"recovery_code": authenticator.codes[0]}
    answer = await person.post(code, fields)

    assert (answer.status_code, answer.headers["location"]) == (303, f"{ACCOUNT}?x=1")
    assert await person.signed_in_as() == name


async def test_who_may_have_no_account_is_told_so(person: Browser, web: AsyncClient, realm: Realm) -> None:
    shut = realm.take("shut")

    page = await there_and_back(person, web, onwards_to(shut), shut.register())

    assert page.status == 403
    assert page.alerts == ["No account is made for this identity: ask an administrator."]
    assert page.form(SIGN_IN).method == "post"


async def test_who_has_an_account_with_the_address_is_told_to_sign_in(
    person: Browser, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    email = f"{new_name()}@example.org"
    await register(app, email=email)

    page = await there_and_back(person, web, onwards_to(op), op.register(email=email, email_verified=True))

    assert page.status == 409
    assert "sign in as you do" in page.alerts[0]


async def test_a_provider_that_is_away_or_none_is_told_on_a_page(person: Browser, op: OpenIdProvider) -> None:
    op.metadata = {"issuer": "https://somebody.example"}

    away = await person.open(onwards_to(op, ACCOUNT))
    none = await person.open(f"{SIGN_IN}/with/nobody")

    assert (away.status, away.form(SIGN_IN).fields["next"]) == (503, ACCOUNT)
    assert none.status == 404
    assert (await person.open(f"{SIGN_IN}/with/gpustack")).status == 404


async def test_an_application_cannot_have_anybody_sent_to_the_console(
    app: AsyncClient, op: OpenIdProvider, settings: Settings
) -> None:
    for page in (RETURN, f"{RETURN}?way=AAAAAAAAAAA", f"{IDENTITIES}/return", "/console"):
        asked = {"redirect_to": f"{settings.public_url}{page}", "code_challenge": s256("x")}
        answer = await app.get(f"/oauth/{op.name}/start", params=asked, headers=from_ip())

        problem(answer, 422, "validation_failed")


# ---- who one is, once more ------------------------------------------------------------------------------------------


async def test_who_has_nothing_else_signs_in_there_once_more(
    person: Browser, web: AsyncClient, op: OpenIdProvider, parts: Parts, app: AsyncClient
) -> None:
    subject = op.register()
    await there_and_back(person, web, onwards_to(op), subject)
    old = session_of(person, app)
    await long_ago(parts, old)
    page = await person.open(SENSITIVE)
    assert page.path == CONFIRM
    (button,) = [href for href in page.links.values() if href.startswith(CONFIRM)]

    op.claims["auth_time"] = int(time.time())
    location = await sent(person, button)
    assert query_of(location)["prompt"] == "login"
    there = await person.open(await came_back(person, web, location, subject))

    assert (there.status, there.path) == (404, SENSITIVE)
    assert session_of(person, app).id != old.id
    problem(await old.ask("GET", "/me"), 401, "session_revoked")


async def test_somebody_else_who_signs_in_there_confirms_nothing(
    person: Browser, web: AsyncClient, op: OpenIdProvider, parts: Parts, app: AsyncClient
) -> None:
    subject, other = op.register(), op.register()
    await there_and_back(person, web, onwards_to(op), subject)
    session = session_of(person, app)
    await long_ago(parts, session)

    op.claims["auth_time"] = int(time.time())
    location = await sent(person, onwards_to(op, SENSITIVE, CONFIRM))
    page = await person.open(await came_back(person, web, location, other))

    assert (page.status, page.alerts) == (401, ["Somebody else has signed in there. Nothing was changed."])
    assert session_of(person, app).id == session.id
    assert (await person.open(SENSITIVE)).path == CONFIRM


async def test_somebody_else_with_a_second_factor_confirms_nothing_either(
    person: Browser, web: AsyncClient, op: OpenIdProvider, parts: Parts, app: AsyncClient
) -> None:
    """He is not asked for his code in this browser, and its session stays whose it is."""
    subject, other = op.register(), op.register()
    await there_and_back(person, web, onwards_to(op), other)
    await enrolled(session_of(person, app))
    await person.send(await person.open(ACCOUNT), "/console/sign-out")
    await there_and_back(person, web, onwards_to(op), subject)
    session = session_of(person, app)
    await long_ago(parts, session)

    op.claims["auth_time"] = int(time.time())
    location = await sent(person, onwards_to(op, SENSITIVE, CONFIRM))
    page = await person.open(await came_back(person, web, location, other))

    assert (page.status, page.alerts) == (401, ["Somebody else has signed in there. Nothing was changed."])
    assert session_of(person, app).id == session.id


async def test_who_says_no_or_comes_back_on_no_way_is_asked_again(
    person: Browser, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    await there_and_back(person, web, onwards_to(op), op.register())
    op.claims["auth_time"] = int(time.time())
    location = await sent(person, onwards_to(op, ACCOUNT, CONFIRM))
    way = query_of(await came_back(person, web, location, op.register()))["way"]

    assert (await person.open(f"{CONFIRM}/return?way=x&code=y")).alerts[0].startswith("This took too long")
    left = await person.open(f"{CONFIRM}/return?way={way}")
    assert (left.path, left.alerts[0][:10]) == (CONFIRM, "You were n")
    elsewhere = await person.get(onwards_to(op, ACCOUNT, CONFIRM), Sec_Fetch_Site="cross-site")
    assert elsewhere.headers["location"] == f"{CONFIRM}?next={ACCOUNT}"


# ---- linking --------------------------------------------------------------------------------------------------------


async def linked(person: Browser) -> list[str]:
    """Whose identities the account has, by the API."""
    answer = await person.http.get(
        f"{BASE}/me/identities", headers={"Authorization": f"Bearer {person.cookies[ACCESS]}"}
    )
    return [each["provider"] for each in answer.json()["items"]]


async def link_of(person: Browser, op: OpenIdProvider) -> str:
    """Where the button of the page leads."""
    page = await person.open(f"{IDENTITIES}/link/{op.name}")
    assert page.status == 200, page.text
    (href,) = [href for href in page.links.values() if href.startswith("https://")]
    return href


async def linked_by(person: Browser, web: AsyncClient, op: OpenIdProvider, subject: str) -> Response:
    return await person.get(await came_back(person, web, await link_of(person, op), subject))


async def test_an_identity_is_linked_and_signs_in_from_then_on(
    fellow: Fellow, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    person, ada, subject = fellow(), await register(app), op.register()
    await person.sign_in(ada)

    answer = await linked_by(person, web, op, subject)

    assert (answer.status_code, answer.headers["location"]) == (303, IDENTITIES)
    assert await linked(person) == [op.name]
    elsewhere = fellow()
    await there_and_back(elsewhere, web, onwards_to(op), subject)
    assert await elsewhere.signed_in_as() == ada.username


async def test_to_open_the_page_links_nothing_and_asks_for_a_present_login(
    person: Browser, op: OpenIdProvider, app: AsyncClient, parts: Parts
) -> None:
    assert (await person.open(f"{IDENTITIES}/link/{op.name}")).path == SIGN_IN
    await person.sign_in(await register(app))

    await link_of(person, op)
    assert await linked(person) == []
    await long_ago(parts, session_of(person, app))
    assert (await person.open(f"{IDENTITIES}/link/{op.name}")).path == CONFIRM


async def test_nobody_gets_the_identity_of_somebody_else_linked(
    fellow: Fellow, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    attacker, victim = fellow(), fellow()
    await attacker.sign_in(await register(app))
    ada = await register(app)
    await victim.sign_in(ada)
    back = await came_back(attacker, web, await link_of(attacker, op), op.register())
    way = {name: value for name, value in attacker.cookies.items() if name.startswith(WAY)}

    assert (await victim.get(back)).headers["location"] == IDENTITIES
    for name, value in way.items():
        victim.http.cookies.set(name, value, domain="auth.example.test", path="/")
    assert (await victim.get(back)).headers["location"] == IDENTITIES

    assert await linked(victim) == []


async def test_a_way_begun_in_one_session_links_nothing_in_the_next(
    person: Browser, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    await person.sign_in(await register(app))
    back = await came_back(person, web, await link_of(person, op), op.register())
    await person.send(await person.open(ACCOUNT), "/console/sign-out")
    await person.sign_in(await register(app))

    assert (await person.get(back)).headers["location"] == IDENTITIES

    assert await linked(person) == []


async def test_a_way_to_sign_in_links_nothing(
    person: Browser, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    back = await came_back(person, web, await sent(person, onwards_to(op)), op.register())
    await person.sign_in(await register(app))

    assert (await person.get(f"{IDENTITIES}/return?{back.partition('?')[2]}")).headers["location"] == IDENTITIES

    assert await linked(person) == []


async def test_what_cannot_be_linked_is_told_on_a_page(
    fellow: Fellow, web: AsyncClient, op: OpenIdProvider, app: AsyncClient
) -> None:
    subject = op.register()
    await there_and_back(fellow(), web, onwards_to(op), subject)
    person = fellow()
    await person.sign_in(await register(app))

    page = await person.open(await came_back(person, web, await link_of(person, op), subject))
    assert (page.status, page.alerts) == (409, ["This identity is somebody else's."])
    assert page.links["Start over"] == f"{IDENTITIES}/link/{op.name}"

    back = await came_back(person, web, await link_of(person, op), subject)
    assert (await person.get(f"{back.partition('&')[0]}")).headers["location"] == IDENTITIES  # said no
    assert (await person.open(f"{IDENTITIES}/link/nobody")).status == 404


async def test_a_code_that_is_none_is_told_on_a_page(person: Browser, op: OpenIdProvider, app: AsyncClient) -> None:
    await person.sign_in(await register(app))
    await link_of(person, op)
    (way,) = [name.removeprefix(WAY) for name in person.cookies if name.startswith(WAY)]

    page = await person.open(f"{IDENTITIES}/return?way={way}&code={'x' * 300}")

    assert (page.status, page.alerts) == (401, ["This took too long, or was done before. Please start over."])
    assert await linked(person) == []
