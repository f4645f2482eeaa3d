"""A password is changed by who knows the present one, and nobody else goes on with the old one."""

import pytest
from httpx import AsyncClient

from app.parts import Parts
from app.providers import GPUSTACK
from tests.console.account_kit import ACCOUNT, me, went
from tests.console.visitor import Visitor, form_of, forms_of
from tests.identity.kit import create
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password

PASSWORD = f"{ACCOUNT}/password"


async def test_a_new_password_ends_the_other_sessions_and_this_one_goes_on(
    inside: Visitor, ada: Person, client: AsyncClient
) -> None:
    other, new = await log_in(client, ada), new_password()
    page = await inside.get(PASSWORD)

    answer = await inside.send(page, PASSWORD, current_password=ada.password, new_password=new, repeated=new)

    said = await went(inside, answer, ACCOUNT)
    assert "Your password has been changed. All other devices are signed out." in said
    assert (await other.ask("GET", "/me")).status_code == 401
    assert (await client.post("/login", json={"username": ada.username, "password": new})).status_code == 200


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"current_password": "wrong horse"}, "current_password", "This is not your current password."),
        ({"current_password": ""}, "current_password", ""),
        ({"new_password": "password", "repeated": "password"}, "new_password", "easy to guess"),
        ({"new_password": "", "repeated": ""}, "new_password", ""),
        ({"repeated": "another one"}, "repeated", "This is not the same as the new password above."),
        ({"repeated": ""}, "repeated", "This is not the same as the new password above."),
    ],
)
async def test_what_is_wrong_is_told_beside_its_field_and_no_password_comes_back(
    inside: Visitor, ada: Person, client: AsyncClient, fields: dict[str, str], field: str, said: str
) -> None:
    new = new_password()
    typed = {"current_password": ada.password, "new_password": new, "repeated": new, **fields}

    answer = await inside.send(await inside.get(PASSWORD), PASSWORD, **typed)

    assert answer.status_code in {401, 422}
    wrong = answer.text.partition(f'id="{field}-wrong">')[2].partition("</div>")[0]
    assert wrong
    assert said in wrong
    for secret in (ada.password, new, "wrong horse"):
        assert secret not in answer.text
    again = {"username": ada.username, "password": ada.password}
    assert (await client.post("/login", json=again, headers=from_ip())).status_code == 200


async def test_who_has_to_change_it_sees_that_page_and_the_way_out_alone(
    visitor: Visitor, admin: SignedIn, client: AsyncClient
) -> None:
    username, password, new = new_name(), new_password(), new_password()
    await create(admin, username=username, password=password)
    await visitor.sign_in(Person(0, username, password))

    page = await visitor.open("/console/")

    assert str(page.url).endswith(PASSWORD)
    assert {form.action for form in forms_of(page)} == {PASSWORD, "/console/sign-out"}
    assert "Choose a new password" in page.text
    assert "/console/account/devices" not in page.text
    for path in ("", "/email", "/factors", "/identities", "/devices", "/activity", "/preferences", "/data"):
        assert (await visitor.get(ACCOUNT + path)).headers["location"] == PASSWORD
    answer = await visitor.send(page, PASSWORD, current_password=password, new_password=new, repeated=new)
    await went(visitor, answer, ACCOUNT)
    assert (await me(visitor, client))["must_change_password"] is False


async def test_who_has_to_change_it_may_leave(visitor: Visitor, admin: SignedIn) -> None:
    username, password = new_name(), new_password()
    await create(admin, username=username, password=password)
    await visitor.sign_in(Person(0, username, password))

    answer = await visitor.send(await visitor.get(PASSWORD), "/console/sign-out")

    assert answer.headers["location"] == "/console/sign-in"


async def test_who_has_none_reads_how_to_get_one(inside: Visitor, ada: Person, parts: Parts) -> None:
    await parts.db.execute("UPDATE users SET password_hash = NULL WHERE id = $1", ada.id)

    page = await inside.get(PASSWORD)

    assert "There is no password here" in page.text
    assert PASSWORD not in {form.action for form in forms_of(page)}


async def test_a_password_manager_is_told_whose_it_is(inside: Visitor, ada: Person) -> None:
    page = await inside.get(PASSWORD)

    assert form_of(page, PASSWORD).fields["username"] == ada.username
    for kind in ("username", "current-password", "new-password"):
        assert f'autocomplete="{kind}"' in page.text


async def test_whose_password_gpustack_keeps_changes_it_there_and_confirms_by_it_here(
    inside: Visitor, ada: Person, parts: Parts
) -> None:
    async with parts.db.transaction() as tx:
        statement = "UPDATE users SET provider = $2, password_hash = NULL WHERE id = $1"
        await tx.execute(statement, ada.id, GPUSTACK)
        change = await parts.entries.outbox.announce(tx, [f"u:{ada.id}"])
    await parts.entries.outbox.settle(change)

    page = await inside.get(PASSWORD)

    assert "GPUStack keeps your password." in page.text
    assert PASSWORD not in {form.action for form in forms_of(page)}
    for path in ("/factors/codes", "/factors/authenticator/remove", "/data/delete"):
        assert 'type="password"' in (await inside.get(ACCOUNT + path)).text
