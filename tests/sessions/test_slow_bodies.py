"""A body may take minutes to come. What counts is whether its sender may come in when it is there."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from httpx import AsyncClient, Response

from tests.identity.factorkit import enrolled
from tests.identity.kit import change_role, hand_out, made_role, new_permission, new_role_name
from tests.identity.webauthnkit import Key, registration_options
from tests.kit import Person, SignedIn, log_in, new_name, problem

Meanwhile = Callable[[], Awaitable[object]]


async def slowly(session: SignedIn, method: str, path: str, sent: object, meanwhile: Meanwhile) -> Response:
    """A request whose body comes in two pieces, and what happens between them."""

    async def body() -> AsyncGenerator[bytes]:
        whole = json.dumps(sent).encode()
        yield whole[:1]
        await meanwhile()
        yield whole[1:]

    return await session.ask(method, path, content=body(), headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/preferences", {"app.left": "behind"}),
        ("PUT", "/preferences/app.left", "behind"),
        ("PATCH", "/me", {"full_name": "Left behind"}),
        ("POST", "/me/reauthenticate", {"password": "whatever-it-is-9"}),
    ],
)
async def test_who_is_signed_out_meanwhile_changes_nothing(
    client: AsyncClient, ada: Person, method: str, path: str, sent: object
) -> None:
    thief, owner = await log_in(client, ada), await log_in(client, ada)

    answer = await slowly(thief, method, path, sent, lambda: owner.ask("POST", "/logout/all?except_current=true"))

    problem(answer, 401, "session_revoked")
    assert (await owner.ask("GET", "/preferences")).json() == {}


async def test_who_is_no_administrator_any_more_makes_nobody_one(
    client: AsyncClient, admin: SignedIn, ada: Person
) -> None:
    assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"is_admin": True})).status_code == 200
    demoted = await log_in(client, ada)

    async def demote() -> None:
        assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"is_admin": False})).status_code == 200

    for method, path, sent in (
        ("PATCH", f"/users/{ada.id}", {"is_admin": True}),
        ("POST", "/users", {"username": new_name(), "is_admin": True}),
    ):
        await admin.ask("PATCH", f"/users/{ada.id}", json={"is_admin": True})
        problem(await slowly(demoted, method, path, sent, demote), 403, "forbidden")

    assert (await admin.ask("GET", f"/users/{ada.id}")).json()["is_admin"] is False


async def test_who_is_given_a_password_meanwhile_has_to_change_it_first(
    client: AsyncClient, admin: SignedIn, ada: Person
) -> None:
    session = await log_in(client, ada)

    answer = await slowly(
        session,
        "POST",
        "/preferences",
        {"app.left": "behind"},
        lambda: admin.ask("PATCH", f"/users/{ada.id}", json={"must_change_password": True}),
    )

    problem(answer, 403, "password_change_required")


async def test_whose_rights_stay_is_let_in(client: AsyncClient, admin: SignedIn, ada: Person) -> None:
    session = await log_in(client, ada)

    answer = await slowly(
        session,
        "POST",
        "/preferences",
        {"app.kept": "here"},
        lambda: admin.ask("PATCH", f"/users/{ada.id}", json={"full_name": "Ada"}),
    )

    assert answer.json() == {"app.kept": "here"}


async def test_an_administrator_loses_nothing_by_a_permission_that_goes(admin: SignedIn) -> None:
    name = await made_role(admin, new_permission())

    answer = await slowly(
        admin, "POST", "/roles", {"name": new_role_name()}, lambda: admin.ask("DELETE", f"/roles/{name}")
    )

    assert answer.status_code == 201


async def test_whose_role_allows_less_meanwhile_is_not_let_in(
    client: AsyncClient, admin: SignedIn, ada: Person
) -> None:
    name = await made_role(admin, "roles:write", "users:read")
    await hand_out(admin, ada.id, name)
    session = await log_in(client, ada)

    answer = await slowly(
        session,
        "POST",
        "/roles",
        {"name": new_role_name(), "permissions": ["users:read"]},
        lambda: change_role(admin, name, permissions=["roles:write"]),
    )

    problem(answer, 403, "forbidden")


async def test_a_second_factor_that_comes_meanwhile_is_asked_for(client: AsyncClient, ada: Person) -> None:
    """A thief's session begins to add a passkey, and its owner sets up an authenticator in another one."""
    thief, owner = await log_in(client, ada), await log_in(client, ada)
    made = Key().made(await registration_options(thief))

    answer = await slowly(thief, "POST", "/me/passkeys", made, lambda: enrolled(owner))

    problem(answer, 403, "reauthentication_required")
    assert (await owner.ask("GET", "/me/passkeys")).json()["items"] == []
