"""By the pages of the console: confirming by a provider who one is, and linking identities."""

import time

from httpx import AsyncClient, Response

from app.parts import Parts
from tests.console.kit import ACCESS, ACCOUNT, SIGN_IN, Browser
from tests.federation.journeys import (
    CONFIRM,
    IDENTITIES,
    SENSITIVE,
    WAY,
    Fellow,
    came_back,
    onwards_to,
    sent,
    session_of,
    there_and_back,
)
from tests.federation.kit import query_of
from tests.federation.provider import OpenIdProvider
from tests.identity.factorkit import enrolled, long_ago
from tests.kit import BASE, problem, register

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


async def nothing_confirmed_by(
    other: str, person: Browser, web: AsyncClient, op: OpenIdProvider, parts: Parts, app: AsyncClient
) -> None:
    """Somebody else comes back, on the way on which the person was to confirm who he is."""
    session = session_of(person, app)
    await long_ago(parts, session)

    op.claims["auth_time"] = int(time.time())
    location = await sent(person, onwards_to(op, SENSITIVE, CONFIRM))
    page = await person.open(await came_back(person, web, location, other))

    assert (page.status, page.alerts) == (401, ["Somebody else has signed in there. Nothing was changed."])
    assert session_of(person, app).id == session.id
    assert (await person.open(SENSITIVE)).path == CONFIRM


async def test_somebody_else_who_signs_in_there_confirms_nothing(
    person: Browser, web: AsyncClient, op: OpenIdProvider, parts: Parts, app: AsyncClient
) -> None:
    subject, other = op.register(), op.register()
    await there_and_back(person, web, onwards_to(op), subject)

    await nothing_confirmed_by(other, person, web, op, parts, app)


async def test_somebody_else_with_a_second_factor_confirms_nothing_either(
    person: Browser, web: AsyncClient, op: OpenIdProvider, parts: Parts, app: AsyncClient
) -> None:
    """He is not asked for his code in this browser, and its session stays whose it is."""
    subject, other = op.register(), op.register()
    await there_and_back(person, web, onwards_to(op), other)
    await enrolled(session_of(person, app))
    await person.send(await person.open(ACCOUNT), "/console/sign-out")
    await there_and_back(person, web, onwards_to(op), subject)

    await nothing_confirmed_by(other, person, web, op, parts, app)


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
