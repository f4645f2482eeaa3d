"""Who gets to which page of administration, and what is there for him to do."""

import pytest
from httpx import AsyncClient

from app.edge import Edge
from app.parts import Parts
from tests.conftest import ADMIN
from tests.console.administration.kit import Browser, as_admin, holding
from tests.console.test_frame_pages import read
from tests.identity.kit import made_role, person
from tests.kit import Person, SignedIn, log_in, register

OVERVIEW = "/console/admin"
PAGES = {
    OVERVIEW: {"users:read", "sessions:read", "roles:write", "audit:read", "system:maintain"},
    "/console/admin/users": {"users:read"},
    "/console/admin/users/new": {"users:read+users:write"},
    "/console/admin/users/{ada}": {"users:read"},
    "/console/admin/users/{ada}/factors": {"users:read+users:write"},
    "/console/admin/users/{ada}/delete": {"users:read+users:write"},
    "/console/admin/sessions": {"sessions:read"},
    "/console/admin/sessions/end": {"sessions:read+sessions:revoke"},
    "/console/admin/roles": {"roles:write"},
    "/console/admin/new-role": {"roles:write"},
    "/console/admin/roles/{role}": {"roles:write"},
    "/console/admin/roles/{role}/delete": {"roles:write"},
    "/console/admin/audit": {"audit:read"},
    "/console/admin/keys": {"system:maintain"},
    "/console/admin/keys/rotate": {"system:maintain"},
    "/console/admin/settings": {"system:maintain"},
}
WAYS = (
    OVERVIEW,
    "/console/admin/users",
    "/console/admin/sessions",
    "/console/admin/roles",
    "/console/admin/audit",
    "/console/admin/keys",
    "/console/admin/settings",
)
HOLDERS = (
    "",
    "users:read",
    "users:write",
    "users:read+users:write",
    "sessions:read",
    "sessions:revoke",
    "sessions:read+sessions:revoke",
    "roles:write",
    "audit:read",
    "system:maintain",
)
FORMS = {
    "/console/admin/users/new": "users:read+users:write",
    "/console/admin/users/{ada}": "users:read+users:write",
    "/console/admin/users/{ada}/roles": "users:read+users:write",
    "/console/admin/users/{ada}/reset-link": "users:read+users:write",
    "/console/admin/users/{ada}/end-sessions": "users:read+sessions:revoke",
    "/console/admin/users/{ada}/factors": "users:read+users:write",
    "/console/admin/users/{ada}/delete": "users:read+users:write",
    "/console/admin/sessions/end": "sessions:read+sessions:revoke",
    "/console/admin/sessions/{ada}/{session}": "sessions:read+sessions:revoke",
    "/console/admin/new-role": "roles:write",
    "/console/admin/roles/{role}": "roles:write",
    "/console/admin/roles/{role}/delete": "roles:write",
    "/console/admin/audit/export": "audit:read",
    "/console/admin/keys/rotate": "system:maintain",
    "/console/admin/cleanup": "system:maintain",
}


class House:
    """Who is there and what is; nothing in here changes it, so that the tests share it."""

    def __init__(self, edge: Edge, parts: Parts, admin: SignedIn, session: SignedIn, ada: Person, role: str) -> None:
        self._edge, self._parts, self._admin = edge, parts, admin
        self.session, self.ada = session, ada
        self.names = {"ada": str(ada.id), "role": role, "session": session.id}
        self._browsers: dict[frozenset[str], Browser] = {}

    async def browser(self, *permissions: str) -> Browser:
        """Of somebody who may do this and no more."""
        wanted = frozenset(permissions)
        if wanted not in self._browsers:
            self._browsers[wanted] = await holding(self._edge, self._parts, self._admin, *wanted)
        return self._browsers[wanted]

    async def is_untouched(self) -> bool:
        """Ada is there, active and signed in, and the role is there."""
        me, roles = await self.session.ask("GET", "/me"), await self._admin.ask("GET", "/roles")
        return bool(me.json().get("is_active")) and roles.text.count(self.names["role"]) == 1


@pytest.fixture(scope="module")
async def house(edge: Edge, parts: Parts, client: AsyncClient) -> House:
    ada = await register(client)
    admin = await log_in(client, ADMIN)
    return House(edge, parts, admin, await log_in(client, ada), ada, await made_role(admin))


@pytest.fixture(scope="module")
async def root(edge: Edge) -> Browser:
    """An administrator's, for all tests in here."""
    return await as_admin(edge)


def may(holder: str, wanted: str) -> bool:
    return set(wanted.split("+")) <= set(holder.split("+"))


@pytest.mark.parametrize("holder", HOLDERS)
async def test_each_page_is_for_who_has_its_right_and_the_way_there_is_shown_to_nobody_else(
    house: House, holder: str
) -> None:
    browser = await house.browser(*filter(None, holder.split("+")))

    found = {path: (await browser.get(path.format(**house.names))).status for path in PAGES}
    ways = set((await browser.get("/console/account")).addresses)

    expected = {path: 200 if any(may(holder, each) for each in rights) else 403 for path, rights in PAGES.items()}
    assert found == expected
    assert {path for path in WAYS if path in ways} == {path for path in WAYS if expected[path] == 200}


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_is_refused_to_who_has_every_right_but_its_own(house: House, path: str) -> None:
    last = FORMS[path].split("+")[-1]
    everything = {each for holder in HOLDERS for each in holder.split("+") if each}
    others = everything - {last} - ({"roles:write"} if path.endswith("/roles") else set())
    browser = await house.browser(*others)
    fields = {"csrf_token": await browser.token(), "username": house.ada.username}

    answer = await browser.client.post(path.format(**house.names), data=fields)

    assert answer.status_code == 403
    assert last in answer.text
    assert await house.is_untouched()


@pytest.mark.parametrize("path", FORMS)
async def test_nothing_happens_without_the_token_of_this_session_or_from_another_site(
    root: Browser, house: House, path: str
) -> None:
    where = path.format(**house.names)
    fields = {"username": house.ada.username, "about": "deactivate", "everybody": "on", "user": house.names["ada"]}
    token, other = await root.token(), await house.browser()

    bare = await root.client.post(where, data=fields)
    foreign = await root.client.post(where, data={**fields, "csrf_token": await other.token()})
    elsewhere = await root.client.post(
        where, data={**fields, "csrf_token": token}, headers={"Origin": "https://evil.example.test"}
    )

    assert [bare.status_code, foreign.status_code, elsewhere.status_code] == [403, 403, 403]
    assert await house.is_untouched()


@pytest.mark.parametrize("path", FORMS)
async def test_nothing_happens_by_a_link(root: Browser, house: House, path: str) -> None:
    fields = {"username": house.ada.username, "about": "deactivate", "everybody": "on", "user": house.names["ada"]}

    await root.get(path.format(**house.names), **fields)

    assert await house.is_untouched()


async def test_who_is_not_signed_in_is_sent_to_sign_in_and_back(edge: Edge) -> None:
    page = await Browser(edge).get("/console/admin/users", search="ada")

    assert page.status == 303
    assert page.answer.headers["location"] == "/console/sign-in?next=/console/admin/users%3Fsearch%3Dada"


@pytest.mark.parametrize(
    "path",
    [
        "/console/admin/users/999999999",
        "/console/admin/users/0",
        "/console/admin/users/99999999999999999999",
        "/console/admin/users/ada",
        "/console/admin/users/999999999/delete",
        "/console/admin/roles/no-such-role",
        "/console/admin/roles/no-such-role/delete",
        "/console/admin/nowhere",
    ],
)
async def test_what_is_not_there_is_told_on_a_page(root: Browser, path: str) -> None:
    page = await root.get(path)

    assert page.status == 404
    assert "There is no such page" in page.text


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_works_under_the_policy_and_says_nothing_to_a_cache(
    root: Browser, house: House, path: str
) -> None:
    page = await root.get(path.format(**house.names))

    assert page.status == 200
    assert read(page.answer).wrong == []
    assert all(url.startswith("/console/static/") for url in read(page.answer).loads)
    assert "script-src 'self'" in page.answer.headers["content-security-policy"]
    assert page.answer.headers["cache-control"] == "no-store"
    assert len(page.answer.content) < 60_000  # bytes; style and scripts are some 45,000 more


async def test_buttons_are_there_for_whom_the_api_would_let(house: House) -> None:
    here = f"/console/admin/users/{house.ada.id}"
    reader = await house.browser("users:read", "sessions:read", "audit:read")
    writer = await house.browser("users:read", "users:write", "sessions:read", "sessions:revoke")
    giver = await house.browser("users:read", "roles:write")

    read, written, given = [await each.get(here) for each in (reader, writer, giver)]

    assert {form.action for form in read.forms} == {"/console/sign-out"}
    assert {here, f"{here}/roles", f"{here}/reset-link", f"{here}/end-sessions"} <= {f.action for f in written.forms}
    assert f"{here}/delete" in written.addresses
    assert {form.action for form in given.forms} == {"/console/sign-out", f"{here}/roles"}
    assert "Ends every session" not in given.text


async def test_what_people_have_written_is_text_on_every_page(root: Browser, admin: SignedIn) -> None:
    evil = "<script>alert(1)</script>"
    made = await person(admin, full_name=evil)
    await log_in(admin.client, made, device_name=evil)
    role = await made_role(admin, description=evil)

    pages = [
        await root.get(path)
        for path in (
            f"/console/admin/users/{made.id}",
            f"/console/admin/users?search={made.username}",
            f"/console/admin/sessions?user={made.id}",
            f"/console/admin/audit?user={made.id}",
            f"/console/admin/roles/{role}",
            "/console/admin/roles",
            f"/console/admin/users?search={evil}",
            f"/console/admin/sessions?device={evil}",
        )
    ]

    assert all(page.status == 200 for page in pages)
    assert all(evil not in page.html for page in pages)
    assert sum("alert(1)" in page.text for page in pages) >= 6
