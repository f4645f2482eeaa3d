"""Roles on two servers: what is changed on one is so at the next request on the other, and in parallel."""

import asyncio

import pytest
from httpx import AsyncClient

from app.identity import queries, role_queries, roles
from app.parts import Parts
from tests.conftest import ADMIN, Twins
from tests.identity.kit import change, change_role, hand_out, made_role, new_permission, new_role_name, person
from tests.kit import Person, SignedIn, blocked_on_a_lock, log_in, problem

# ---- seen everywhere ----------------------------------------------------------------------------------------------


class Watcher:
    """Somebody whose rights every server is asked about."""

    def __init__(self, session: SignedIn, places: list[AsyncClient], permission: str) -> None:
        self.session = session
        self._places = places
        self._require = f"/verify?require={permission}"

    async def may(self, *roles: str) -> None:
        for place in self._places:
            answer = await self.session.ask("GET", self._require, at=place)
            assert (answer.status_code, answer.headers["x-auth-roles"]) == (200, ",".join(roles))

    async def may_not(self, *roles: str) -> None:
        for place in self._places:
            problem(await self.session.ask("GET", self._require, at=place), 403, "forbidden")
            me = (await self.session.ask("GET", "/me", at=place)).json()
            assert (me["roles"], me["permissions"]) == ([*roles], [])


async def test_a_change_of_a_role_is_seen_by_the_next_request_on_every_server(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, session: SignedIn
) -> None:
    first, second = replicas
    mine, name, other = new_permission(), new_role_name(), new_role_name()
    watcher = Watcher(session, [client, *replicas], mine)
    root = SignedIn(first, admin.body)
    await watcher.may_not()

    await made_role(root, name=name)
    await hand_out(root, session.user_id, name)
    await watcher.may_not(name)
    await change_role(root, name, permissions=[mine])
    await watcher.may(name)
    await change_role(root, name, remove_permissions=[mine])
    await watcher.may_not(name)
    await change_role(root, name, add_permissions=[mine])
    await watcher.may(name)
    await change_role(root, name, name=other)
    assert (await session.refreshed(at=second)).body["user"]["roles"] == [other]
    await watcher.may(other)
    await root.ask("DELETE", f"/roles/{other}")
    await watcher.may_not()


async def test_a_role_that_has_the_name_of_another_is_not_the_other(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, session: SignedIn
) -> None:
    """Every server has cached that somebody holds a role of this name."""
    mine = new_permission()
    watcher = Watcher(session, [client, *replicas], mine)
    name = await made_role(admin, mine)
    await hand_out(admin, session.user_id, name)
    await watcher.may(name)

    await admin.ask("DELETE", f"/roles/{name}")
    await made_role(admin, mine, name=name)

    await watcher.may_not()
    await hand_out(admin, session.user_id, name)
    await watcher.may(name)
    other = new_role_name()
    await change_role(admin, name, name=other)
    await made_role(admin, name=name)
    await watcher.may(other)


async def test_who_finds_a_role_gone_finds_it_gone_everywhere(
    replicas: list[AsyncClient], admin: SignedIn, session: SignedIn, parts: Parts
) -> None:
    """Its deletion is committed, and its process has not told Valkey yet."""
    mine = new_permission()
    name = await made_role(admin, mine)
    await hand_out(admin, session.user_id, name)
    await Watcher(session, replicas, mine).may(name)
    async with parts.db.transaction() as tx:
        await role_queries.take_turn(tx)
        await role_queries.remove(tx, name)
        await parts.entries.outbox.announce(tx, ["r:table"])

    problem(await admin.ask("DELETE", f"/roles/{name}", at=replicas[0]), 404, "not_found")

    await Watcher(session, replicas, mine).may_not()


# ---- in parallel --------------------------------------------------------------------------------------------------


async def test_of_fifty_who_make_one_role_at_once_one_does(replicas: list[AsyncClient], admin: SignedIn) -> None:
    body = {"name": new_role_name(), "permissions": [new_permission()]}

    answers = await asyncio.gather(
        *(admin.ask("POST", "/roles", at=replicas[number % 2], json=body) for number in range(50))
    )

    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 49]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"conflict"}


async def test_of_fifty_changes_at_once_none_is_lost(
    replicas: list[AsyncClient], admin: SignedIn, parts: Parts
) -> None:
    """Half of them add a permission each, half take one away."""
    new, old = ([new_permission(f"{word}{number}") for number in range(25)] for word in ("new", "old"))
    name = await made_role(admin, *old)

    answers = await asyncio.gather(
        *(
            admin.ask("PATCH", f"/roles/{name}", at=replicas[number % 2], json={field: [permission]})
            for field, permissions in (("add_permissions", new), ("remove_permissions", old))
            for number, permission in enumerate(permissions)
        )
    )

    assert {answer.status_code for answer in answers} == {200}
    assert (await change_role(admin, name)).json()["permissions"] == sorted(new)
    rows = await parts.db.fetch("SELECT name FROM permissions WHERE name = ANY($1)", [*new, *old])
    assert {row["name"] for row in rows} == {*new}
    rows = await parts.db.fetch("SELECT FROM audit_events WHERE event = 'role.changed' AND details->>'role' = $1", name)
    assert len(rows) == 51


async def test_of_fifty_who_replace_what_a_role_allows_one_is_the_last(
    replicas: list[AsyncClient], admin: SignedIn
) -> None:
    name = await made_role(admin)
    wanted = [sorted(new_permission(action) for action in ("read", "write")) for _ in range(50)]

    answers = await asyncio.gather(
        *(
            admin.ask("PATCH", f"/roles/{name}", at=replicas[number % 2], json={"permissions": permissions})
            for number, permissions in enumerate(wanted)
        )
    )

    assert [answer.json()["permissions"] for answer in answers] == wanted
    assert (await change_role(admin, name)).json()["permissions"] in wanted


@pytest.mark.parametrize("bound", ["MOST_ROLES", "MOST_PERMISSIONS"])
async def test_fifty_at_once_make_no_more_than_there_may_be(
    twins: Twins, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    root = await log_in(twins.here, ADMIN)
    path = "/roles" if bound == "MOST_ROLES" else "/permissions"
    present = len((await root.ask("GET", path)).json()["items"])
    monkeypatch.setattr(roles, bound, present + 5)

    answers = await asyncio.gather(
        *(
            root.ask(
                "POST",
                "/roles",
                at=(twins.here, twins.there)[number % 2],
                json={"name": new_role_name(), "permissions": [new_permission()]},
            )
            for number in range(50)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [*[201] * 5, *[409] * 45]
    assert len((await root.ask("GET", path)).json()["items"]) == present + 5


async def test_a_role_that_goes_while_it_is_handed_out_is_nobodys(
    replicas: list[AsyncClient], admin: SignedIn, parts: Parts
) -> None:
    mine = new_permission()
    people = [await person(admin) for _ in range(10)]
    for _ in range(5):
        name = await made_role(admin, mine)

        deleted, *answers = await asyncio.gather(
            admin.ask("DELETE", f"/roles/{name}", at=replicas[0]),
            *(
                admin.ask("PUT", f"/users/{each.id}/roles", at=replicas[number % 2], json={"roles": [name]})
                for number, each in enumerate(people)
            ),
        )

        assert deleted.status_code == 204
        assert {answer.status_code for answer in answers} <= {200, 422}
        assert not await parts.db.fetch("SELECT FROM user_roles WHERE role = $1", name)
        assert not await parts.db.fetch("SELECT FROM permissions WHERE name = $1", mine)


async def test_a_role_that_is_just_renamed_is_not_taken_from_who_gets_another(
    admin: SignedIn, ada: Person, parts: Parts
) -> None:
    name, other = await made_role(admin), new_role_name()
    await hand_out(admin, ada.id, name)

    async with parts.db.transaction() as tx:
        await role_queries.take_turn(tx)
        await role_queries.rename(tx, name, other)
        promotion = asyncio.create_task(change(admin, ada.id, is_admin=True))
        await blocked_on_a_lock(parts)

    assert (await promotion).json()["roles"] == sorted(["admin", other])


async def test_whom_a_role_is_just_given_by_a_provider_is_given_none_that_goes(
    admin: SignedIn, ada: Person, parts: Parts
) -> None:
    """By what does not wait for the whole table."""
    name, other = await made_role(admin), await made_role(admin)

    async def give() -> list[str]:
        async with parts.db.transaction() as tx:
            return await queries.set_roles(tx, ada.id, [name, other])

    async with parts.db.transaction() as tx:
        await role_queries.take_turn(tx)
        await role_queries.remove(tx, name)
        giving = asyncio.create_task(give())
        await blocked_on_a_lock(parts)

    assert await giving == [name]
    assert (await admin.ask("GET", f"/users/{ada.id}")).json()["roles"] == [other]


async def test_a_role_that_many_have_may_take_its_time(admin: SignedIn, parts: Parts) -> None:
    """To rename and to delete; whoever has the connection next has as long as always."""
    name, other = await made_role(admin), new_role_name()

    async with parts.db.transaction() as tx:
        before = await tx.fetchval("SHOW statement_timeout")
        await role_queries.rename(tx, name, other)
        renaming = await tx.fetchval("SHOW statement_timeout")
    async with parts.db.transaction() as tx:
        between = await tx.fetchval("SHOW statement_timeout")
        await role_queries.remove(tx, other)
        deleting = await tx.fetchval("SHOW statement_timeout")

    assert (before, between) == ("5s", "5s")
    assert (renaming, deleting) == ("1min", "1min")
