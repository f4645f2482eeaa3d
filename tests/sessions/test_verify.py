"""What reverse proxies ask before every request of others."""

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.kit import Person, SignedIn, log_in, problem


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_any_method_is_told_who_it_is(session: SignedIn, ada: Person, method: str) -> None:
    answer = await session.ask(method, "/verify")

    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["x-auth-user-id"] == str(ada.id)
    assert answer.headers["x-auth-username"] == ada.username
    assert answer.headers["x-auth-roles"] == ""
    assert answer.headers["x-auth-session-id"] == session.id


async def test_with_a_body_or_by_another_spelling_it_is_the_same(session: SignedIn) -> None:
    posted = await session.ask("POST", "/verify", content=b"anything at all")
    slashed = await session.ask("GET", "/verify/")

    assert posted.status_code == slashed.status_code == 200
    assert posted.headers["x-auth-user-id"] == slashed.headers["x-auth-user-id"]


async def test_nobody_is_refused(client: AsyncClient) -> None:
    problem(await client.get("/verify"), 401, "not_authenticated")
    problem(await client.post("/verify", content=b"x"), 401, "not_authenticated")
    problem(await client.get("/verify", headers={"Authorization": "Bearer x.y.z"}), 401, "invalid_token")


async def test_a_permission_can_be_required(session: SignedIn, admin: SignedIn) -> None:
    problem(await session.ask("GET", "/verify?require=users:read"), 403, "forbidden")
    problem(await session.ask("GET", "/verify?require="), 403, "forbidden")
    for query in ("require=users:read", "require=users:read&require=orders:write", "other=thing"):
        assert (await admin.ask("GET", f"/verify?{query}")).status_code == 200
    assert (await admin.ask("GET", "/verify")).headers["x-auth-roles"] == "admin"


async def test_a_role_of_the_applications_own_carries_its_permissions(
    client: AsyncClient, ada: Person, parts: Parts, replicas: list[AsyncClient]
) -> None:
    session = await log_in(client, ada)
    role, permission = f"clerk-{ada.id}", f"orders-{ada.id}:read"
    for place in (client, *replicas):
        problem(await session.ask("GET", f"/verify?require={permission}", at=place), 403, "forbidden")

    async def change(*statements: str) -> None:
        """A change of the role table, as one that is acknowledged: noted, committed, carried to Valkey."""
        async with parts.db.transaction() as tx:
            for statement in statements:
                await tx.execute(statement)
            await tx.execute("UPDATE role_table SET number = number + 1")
            noted = await parts.entries.outbox.announce(tx, ["r:table", f"u:{ada.id}"])
        await parts.entries.outbox.settle(noted)

    await change(
        f"INSERT INTO permissions (name) VALUES ('{permission}')",
        f"INSERT INTO roles (name) VALUES ('{role}')",
        f"INSERT INTO role_permissions VALUES ('{role}', '{permission}')",
        f"INSERT INTO user_roles VALUES ({ada.id}, '{role}')",
    )
    for place in (client, *replicas):
        assert (await session.ask("GET", f"/verify?require={permission}", at=place)).status_code == 200
        me = (await session.ask("GET", "/me", at=place)).json()
        assert (me["roles"], me["permissions"]) == ([role], [permission])

    await change(f"DELETE FROM role_permissions WHERE role = '{role}'")
    for place in (client, *replicas):
        problem(await session.ask("GET", f"/verify?require={permission}", at=place), 403, "forbidden")
        assert (await session.ask("GET", "/me", at=place)).json()["permissions"] == []


async def test_names_are_percent_encoded(client: AsyncClient, ada: Person, parts: Parts) -> None:
    await parts.db.execute(
        "UPDATE users SET username = $2, provider = 'upstream' WHERE id = $1", ada.id, f"Ädä {ada.id}, %"
    )
    session = await log_in_as(client, parts, ada)

    answer = await session.ask("GET", "/verify")

    assert answer.headers["x-auth-username"] == f"%C3%84d%C3%A4%20{ada.id}%2C%20%25"


async def log_in_as(client: AsyncClient, parts: Parts, person: Person) -> SignedIn:
    """By the address, for an upstream's name is no local one."""
    email = f"{person.username}@example.test"
    await parts.db.execute("UPDATE users SET email = $2 WHERE id = $1", person.id, email)
    return await log_in(client, Person(person.id, email, person.password))
