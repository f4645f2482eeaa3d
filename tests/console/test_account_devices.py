"""Where somebody is signed in, and signing out there."""

from uuid import uuid4

from httpx import AsyncClient

from app.edge import Edge
from tests.console.account_kit import ACCOUNT, missing, session_of, text_of, went
from tests.console.visitor import Visitor, form_of, forms_of
from tests.kit import Person, log_in, register

DEVICES = f"{ACCOUNT}/devices"
OTHERS = f"{DEVICES}/end-others"


def end_of(session_id: str) -> str:
    return f"{DEVICES}/{session_id}/end"


async def test_each_device_is_named_and_this_one_is_marked(inside: Visitor, ada: Person, client: AsyncClient) -> None:
    phone = await log_in(client, ada, device_name="<img src=x onerror=alert(1)>", ip="100.127.0.9")

    page = await inside.get(DEVICES)

    assert "<img" not in page.text
    assert "<img src=x onerror=alert(1)>" in text_of(page)
    assert "100.127.0.9" in page.text
    assert page.text.count("This device") == 1
    actions = {form.action for form in forms_of(page)}
    assert {end_of(phone.id), OTHERS} <= actions
    assert end_of(session_of(inside, client).id) not in actions


async def test_one_is_signed_out(inside: Visitor, ada: Person, client: AsyncClient) -> None:
    phone, tablet = await log_in(client, ada), await log_in(client, ada)

    answer = await inside.send(await inside.get(DEVICES), end_of(phone.id))

    assert "The device has been signed out." in await went(inside, answer, DEVICES)
    assert (await phone.ask("GET", "/me")).status_code == 401
    assert (await tablet.ask("GET", "/me")).status_code == 200


async def test_all_others_are_signed_out(inside: Visitor, ada: Person, client: AsyncClient) -> None:
    others = [await log_in(client, ada) for _ in range(3)]

    answer = await inside.send(await inside.get(DEVICES), OTHERS)

    said = await went(inside, answer, DEVICES)
    assert "All other devices have been signed out." in said
    assert OTHERS not in said
    assert [(await each.ask("GET", "/me")).status_code for each in others] == [401, 401, 401]


async def test_somebody_elses_device_and_one_that_has_ended_are_none(
    inside: Visitor, ada: Person, client: AsyncClient, edge: Edge
) -> None:
    phone = await log_in(client, ada)
    other = Visitor(edge)
    await other.sign_in(await register(client))
    token = {"csrf_token": form_of(await other.get(DEVICES), "/console/sign-out").fields["csrf_token"]}

    missing(await other.post(end_of(phone.id), token))
    missing(await other.post(end_of(str(uuid4())), token))
    assert (await phone.ask("GET", "/me")).status_code == 200
    page = await inside.get(DEVICES)
    await phone.ask("POST", "/logout")
    missing(await inside.send(page, end_of(phone.id)))


async def test_to_end_this_one_is_to_sign_out(inside: Visitor, client: AsyncClient) -> None:
    page = await inside.get(DEVICES)

    await inside.post(end_of(session_of(inside, client).id), form_of(page, "/console/sign-out").fields)

    assert (await inside.get(DEVICES)).headers["location"] == f"/console/sign-in?next={DEVICES}"
