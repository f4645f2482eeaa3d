"""Accounts: found, made and looked after by forms alone."""

import re

import pytest
from httpx import AsyncClient

from app.edge import Edge
from app.identity.accounts import create_first_admin
from app.parts import Parts
from tests.conftest import ADMIN
from tests.console.administration.kit import Browser, Page, as_admin, holding
from tests.identity.kit import events, made_role, new_permission, person
from tests.kit import Person, SignedIn, log_in, new_name, new_password, register
from tests.mail.kit import Postbox
from tests.replica import Start

USERS = "/console/admin/users"
NEW = f"{USERS}/new"


def found(page: Page) -> list[str]:
    """The users of a list, in its order."""
    return re.findall(r'<th scope="row"><a href="/console/admin/users/\d+">([^<]+)</a>', page.html)


async def test_the_list_is_searched_and_sorted_and_says_what_was_searched_for(root: Browser, admin: SignedIn) -> None:
    word = new_name("w")
    people = [await person(admin, email=f"{word}-{letter}@example.org") for letter in "abc"]

    down = await root.get(USERS, search=word, sort="-email")
    up = await root.get(USERS, search=word, sort="email", is_active="yes", is_admin="no")

    assert found(down) == [each.username for each in reversed(people)]
    assert found(up) == [each.username for each in people]
    form = up.form(USERS)
    assert (form.fields["search"], form.fields["is_active"], form.fields["is_admin"]) == (word, "yes", "no")
    assert form.fields["sort"] == "email"
    assert 'aria-sort="ascending"' in up.html
    assert "Found: 3" in up.text


async def test_the_list_goes_on_by_page_and_by_cursor(root: Browser, admin: SignedIn, parts: Parts) -> None:
    word = new_name("w")
    statement = "INSERT INTO users (username, full_name) SELECT $1 || '-' || n, $1 FROM generate_series(1, 101) n"
    await parts.db.execute(statement, word)

    first = await root.get(USERS, search=word, sort="username")
    last = await root.get(USERS, search=word, sort="username", page="3")
    (onwards,) = [link for link in first.addresses if "page=2" in link]
    second = await root.get(onwards)

    assert [len(found(page)) for page in (first, second, last)] == [50, 50, 1]
    assert "Page 2 of 3" in second.text
    assert len({*found(first), *found(second), *found(last)}) == 101
    assert not any("page=4" in link for link in last.addresses)


async def test_where_page_numbers_end_a_cursor_goes_on(root: Browser, admin: SignedIn, parts: Parts) -> None:
    page = await root.get(USERS, page="200")
    beyond = await root.get(USERS, page="201")

    assert page.status == 200
    assert beyond.status == 422
    assert "Pages end at 10,000 rows" in beyond.text


@pytest.mark.parametrize(
    "query",
    [
        "sort=password_hash",
        "page=0",
        "page=-1",
        "page=x",
        "page=99999999999999999999",
        "cursor=rubbish",
        "role=No%20Role",
        "search=%01",
        "search=" + "x" * 300,
    ],
)
async def test_a_bad_filter_is_told_on_the_page(root: Browser, query: str) -> None:
    page = await root.get(f"{USERS}?{query}")

    assert page.status == 422
    assert page.has_form(USERS)


@pytest.mark.parametrize("query", ["search=%00", "search=%FF", "&".join(f"a{n}=1" for n in range(60))])
async def test_an_address_that_cannot_be_read_is_refused(root: Browser, query: str) -> None:
    assert (await root.get(f"{USERS}?{query}")).status == 400


async def test_an_account_is_made_with_a_password(root: Browser, client: AsyncClient, admin: SignedIn) -> None:
    name, password, role = new_name(), new_password(), await made_role(admin)
    form = (await root.get(NEW)).form(NEW)

    done = await root.do(form, username=name, way="password", password=password, full_name="Ada", role_more=role)

    assert f"{name}" in done.text
    assert "The account has been created." in done.text
    session = await log_in(client, Person(0, name, password))
    assert session.body["user"]["roles"] == [role]
    assert session.body["user"]["must_change_password"]


async def test_an_account_is_made_with_an_invitation(root: Browser, postbox: Postbox) -> None:
    name = new_name()
    form = (await root.get(NEW)).form(NEW)

    done = await root.do(form, username=name, way="invitation", email=f"{name}@example.org")

    assert "an invitation is on its way" in done.text
    assert "token=" in (await postbox.to(f"{name}@example.org")).part("plain")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"username": "", "way": "password"}, "Please fill this in."),
        ({"username": "a b", "way": "password"}, "This has characters that do not belong here."),
        ({"username": "x" * 100, "way": "password"}, "This may have at most 64 characters."),
        ({"username": "root", "way": "password"}, None),
        ({"way": "invitation", "email": ""}, "Please fill this in: the invitation goes there."),
        ({"way": "password", "password": "password"}, "password"),
        ({"way": "password", "email": "nonsense"}, "Is not an e-mail address"),
        ({"way": "password", "role_more": "nosuchrole"}, "Names a role that does not exist"),
        ({"way": "password", "role_more": "No.Role"}, "This has characters that do not belong here."),
    ],
)
async def test_what_is_wrong_with_a_new_account_is_said_beside_its_field_and_what_was_typed_is_there(
    root: Browser, fields: dict[str, str], said: str | None
) -> None:
    form = (await root.get(NEW)).form(NEW)
    typed = {"username": new_name(), "password": new_password(), "full_name": "Ada Lovelace", **fields}

    page = await root.send(form, **typed)

    assert page.status in (409, 422)
    assert page.form(NEW).fields["full_name"] == "Ada Lovelace"
    assert page.form(NEW).fields["username"] == typed["username"]
    assert page.form(NEW).fields["password"] == ""
    assert page.form(NEW).fields["way"] == typed["way"]
    if said is not None:
        assert said in page.wrong


async def test_name_and_address_are_changed(root: Browser, admin: SignedIn, ada: Person) -> None:
    here = f"{USERS}/{ada.id}"
    form = (await root.get(here)).form(here, about="profile")
    address = f"{new_name()}@example.org"

    done = await root.do(form, full_name="Ada Lovelace", email=address)
    again = await root.send(form, email="nonsense")

    assert "The account has been saved." in done.text
    assert done.form(here, about="profile").fields["email"] == address
    assert again.status == 422
    assert "Is not an e-mail address" in again.wrong
    assert (await admin.ask("GET", f"/users/{ada.id}")).json()["full_name"] == "Ada Lovelace"


async def test_roles_are_given_and_taken_by_ticking_them(root: Browser, admin: SignedIn, ada: Person) -> None:
    here, role, other = f"{USERS}/{ada.id}", await made_role(admin), await made_role(admin)
    form = (await root.get(here)).form(f"{here}/roles")

    given = await root.do(form, role_more=f"{role}, {other}")
    taken = await root.do(given.form(f"{here}/roles"), **{f"role.{role}": None})

    assert given.form(f"{here}/roles").fields[f"role.{role}"] == "on"
    assert (await admin.ask("GET", f"/users/{ada.id}")).json()["roles"] == [other]
    assert "The roles have been saved" in taken.text


async def test_who_may_only_hand_out_roles_does_so(
    edge: Edge, parts: Parts, admin: SignedIn, ada: Person, session: SignedIn
) -> None:
    here, permission = f"{USERS}/{ada.id}", new_permission()
    role, beyond = await made_role(admin, permission), await made_role(admin, "system:maintain")
    giver = await holding(edge, parts, admin, "users:read", "roles:write", permission)
    form = (await giver.get(here)).form(f"{here}/roles")

    done = await giver.do(form, role_more=role)
    refused = await giver.send(form, role_more=beyond)

    assert "The roles have been saved" in done.text
    assert refused.status == 403
    assert "This is about rights beyond your own." in refused.text
    assert refused.form(f"{here}/roles").fields[f"role.{beyond}"] == "on"
    assert (await admin.ask("GET", f"/users/{ada.id}")).json()["roles"] == [role]


async def test_somebody_is_shut_out_with_a_reason_and_let_in_again(
    root: Browser, parts: Parts, ada: Person, session: SignedIn
) -> None:
    here = f"{USERS}/{ada.id}"
    form = (await root.get(here)).form(here, about="deactivate")

    out = await root.do(form, reason="a lost laptop")
    back = await root.do(out.form(here, about="activate"))

    assert "is signed out everywhere" in out.text
    assert "Not active" in out.text
    assert "This account can sign in again." in back.text
    assert (await session.ask("GET", "/me")).status_code == 401
    assert [said.get("reason") for _, said in await events(parts, ada.id) if "is_active" in said] == [
        "a lost laptop",
        None,
    ]


async def test_a_new_password_is_asked_for_and_no_more(root: Browser, ada: Person, session: SignedIn) -> None:
    here = f"{USERS}/{ada.id}"

    due = await root.do((await root.get(here)).form(here, about="due"))
    met = await session.ask("GET", "/me/sessions")
    done = await root.do(due.form(here, about="not-due"))

    assert "This account has to choose a new password" in due.text
    assert met.json()["code"] == "password_change_required"
    assert "no longer has to choose a new password" in done.text


async def test_a_password_is_set_by_hand(root: Browser, client: AsyncClient, ada: Person, session: SignedIn) -> None:
    here, password = f"{USERS}/{ada.id}", new_password()
    form = (await root.get(here)).form(here, about="password")

    weak = await root.send(form, password="password")
    done = await root.do(form, password=password)

    assert weak.status == 422
    assert "too" in weak.wrong or "guess" in weak.wrong or "common" in weak.wrong
    assert "The password has been set." in done.text
    assert (await session.ask("GET", "/me")).status_code == 401
    await log_in(client, Person(ada.id, ada.username, password))


async def test_a_form_that_this_page_has_not_is_refused(root: Browser, ada: Person) -> None:
    here = f"{USERS}/{ada.id}"
    form = (await root.get(here)).form(here, about="due")

    assert (await root.send(form, about="everything")).status == 422


async def test_a_link_for_a_new_password_is_mailed_or_it_is_said_why_not(
    root: Browser, admin: SignedIn, postbox: Postbox, ada: Person
) -> None:
    grace = await person(admin, email=f"{new_name()}@example.org")
    here, without = f"{USERS}/{grace.id}", f"{USERS}/{ada.id}"

    done = await root.do((await root.get(here)).form(f"{here}/reset-link"))
    refused = await root.send((await root.get(without)).form(f"{without}/reset-link"))

    assert "A link for a new password is on its way." in done.text
    assert refused.status == 409
    assert "address" in refused.text


async def test_sessions_of_somebody_are_ended_one_and_all(
    root: Browser, client: AsyncClient, ada: Person, session: SignedIn
) -> None:
    here, other = f"{USERS}/{ada.id}", await log_in(client, ada, device_name="Grandmother's tablet")
    page = await root.get(here)

    one = await root.do(page.form(f"/console/admin/sessions/{ada.id}/{other.id}"))
    everything = await root.do(one.form(f"{here}/end-sessions"))

    assert "Grandmother" in page.text
    assert "The session has been ended." in one.text
    assert "Grandmother" not in one.text
    assert "Sessions ended: 1." in everything.text
    assert "Not signed in anywhere." in everything.text
    assert (await session.ask("GET", "/me")).status_code == 401


async def test_who_may_do_more_is_left_as_he_is(edge: Edge, parts: Parts, admin: SignedIn) -> None:
    browser = await holding(edge, parts, admin, "users:read", "users:write")
    tony = await person(admin, is_admin=True)
    here = f"{USERS}/{tony.id}"
    page = await browser.get(here)

    answers = [
        await browser.send(page.form(here, about="deactivate"), reason="no reason"),
        await browser.send(page.form(here, about="profile"), full_name="Nobody"),
        await browser.send(page.form(f"{here}/roles"), **{"role.admin": None}),
        await browser.send((await browser.get(f"{here}/delete")).form(f"{here}/delete"), username=tony.username),
        await browser.send((await browser.get(f"{here}/factors")).form(f"{here}/factors")),
    ]

    assert [each.status for each in answers] == [403] * 5
    assert all("This needs an administrator." in each.text for each in answers)
    assert answers[0].form(here, about="deactivate").fields["reason"] == "no reason"
    assert (await admin.ask("GET", f"/users/{tony.id}")).json()["is_active"]


async def test_the_last_administrator_stays(start: Start) -> None:
    alone = await start()
    await create_first_admin(alone.parts.db, alone.parts.passwords, ADMIN.username, ADMIN.password)
    root = await as_admin(alone.edge)
    page = await root.get(f"{USERS}/1")

    out = await root.send(page.form(f"{USERS}/1", about="deactivate"))
    less = await root.send(page.form(f"{USERS}/1/roles"), **{"role.admin": None})
    gone = await root.send((await root.get(f"{USERS}/1/delete")).form(f"{USERS}/1/delete"), username="root")

    assert [out.status, less.status, gone.status] == [409, 409, 409]
    assert all("The last active administrator has to stay." in each.text for each in (out, less, gone))


async def test_ones_own_address_does_not_change_here(root: Browser) -> None:
    page = await root.get(f"{USERS}/1")

    assert "email" not in page.form(f"{USERS}/1", about="profile").names
    saved = await root.do(page.form(f"{USERS}/1", about="profile"), full_name="", email="evil@example.org")
    assert "The account has been saved." in saved.text
    assert "evil@example.org" not in saved.text


async def test_without_mail_an_account_is_made_with_a_password(start: Start) -> None:
    alone = await start()
    await create_first_admin(alone.parts.db, alone.parts.passwords, ADMIN.username, ADMIN.password)
    root = await as_admin(alone.edge)
    page = await root.get(NEW)

    refused = await root.send(page.form(NEW), username="ada", way="invitation", email="ada@example.org")

    assert page.form(NEW).fields["way"] == "password"
    assert "this installation sends no mail" in page.text
    assert refused.status == 503


async def test_a_new_user_registers_and_is_on_top(root: Browser, client: AsyncClient) -> None:
    ada = await register(client)

    assert ada.username in found(await root.get(USERS))[:20]
