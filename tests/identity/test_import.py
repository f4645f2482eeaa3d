"""Users by the thousand: who is new is made, who is there is changed, and no line is in another's way."""

from typing import Any

import bcrypt
import msgspec
import pytest
from httpx import AsyncClient

from app.identity.import_lines import ExportLine, ImportLine
from app.parts import Parts
from tests.identity.hashkit import FOREIGN, PASSWORD
from tests.identity.importkit import new_line, shown, take
from tests.identity.kit import events, new_role, person
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem

# ---- who is new -----------------------------------------------------------------------------------------------------


async def test_who_is_new_is_made_as_his_line_says(admin: SignedIn, parts: Parts) -> None:
    role = await new_role(parts, "orders:read")
    line = new_line(email=f"Grace.{new_name()}@EXAMPLE.org", full_name="Grace  Hopper", is_active=False, roles=[role])

    (said,) = await take(admin, line)

    assert said == {"line": 1, "status": "created", "id": said["id"]}
    found = await shown(admin, said["id"])
    assert found["username"] == line["username"]
    assert found["email"] == str(line["email"]).lower()
    assert not found["email_verified"]
    assert found["full_name"] == "Grace Hopper"
    assert (found["is_active"], found["roles"], found["provider"]) == (False, [role], "local")
    assert not found["must_change_password"]
    assert await events(parts, said["id"]) == [("user.created", {"roles": [role], "by": "import"})]
    row = await parts.db.fetchrow(
        "SELECT actor_id, session_id::text, request_id, ip_address FROM audit_events WHERE user_id = $1", said["id"]
    )
    assert row is not None
    assert (row["actor_id"], row["session_id"]) == (admin.user_id, admin.id)
    assert row["request_id"]
    assert row["ip_address"]


async def test_a_name_alone_is_enough(admin: SignedIn) -> None:
    (said,) = await take(admin, new_line())

    assert (await shown(admin, said["id"]))["is_active"]


@pytest.mark.parametrize(
    "kind", ["passlib, bcrypt 2b", "passlib, argon2id", "Django, scrypt", "Werkzeug, PBKDF2-SHA512"]
)
async def test_a_hash_that_others_have_made_signs_in(client: AsyncClient, admin: SignedIn, kind: str) -> None:
    line = new_line(password_hash=FOREIGN[kind])

    (said,) = await take(admin, line)

    await log_in(client, Person(said["id"], str(line["username"]), PASSWORD))


async def test_a_plain_password_is_judged_and_hashed(client: AsyncClient, admin: SignedIn) -> None:
    good = [new_line(password=new_password()) for _ in range(6)]
    weak, half = new_line(password="12345678"), b'{"username": "%s", "password": "\\ud800x"}' % new_name().encode()

    said = await take(admin, *good, weak, half)

    assert [each["status"] for each in said] == ["created"] * 6 + ["error"] * 2
    assert said[6]["code"] == "weak_password"
    for line, each in zip(good, said, strict=False):
        await log_in(client, Person(each["id"], str(line["username"]), str(line["password"])))


async def test_who_has_to_change_his_password_has_to_here(client: AsyncClient, admin: SignedIn) -> None:
    line = new_line(password=new_password(), must_change_password=True)

    (said,) = await take(admin, line)

    session = await log_in(client, Person(said["id"], str(line["username"]), str(line["password"])))
    problem(await session.ask("GET", "/preferences"), 403, "password_change_required")


async def test_nobody_who_is_new_is_mailed(admin: SignedIn, parts: Parts) -> None:
    (said,) = await take(admin, new_line(email=f"{new_name()}@example.org"))

    assert not await parts.db.fetch("SELECT FROM mail_outbox WHERE user_id = $1", said["id"])
    assert not await parts.db.fetch("SELECT FROM one_time_tokens WHERE user_id = $1", said["id"])


# ---- who is there ---------------------------------------------------------------------------------------------------


async def test_what_a_line_names_is_changed_and_all_else_stays(admin: SignedIn, parts: Parts) -> None:
    role, other = await new_role(parts, "orders:read"), await new_role(parts, "orders:write")
    address = f"{new_name()}@example.org"
    ada = await person(admin, email=address, full_name="Ada", roles=[role])
    before = await shown(admin, ada.id)

    async def after(**fields: object) -> dict[str, Any]:
        (said,) = await take(admin, {"username": ada.username.upper(), **fields})
        assert said == {"line": 1, "status": "updated", "id": ada.id}
        return await shown(admin, ada.id)

    renamed = await after(full_name="Ada King")
    assert {name for name in renamed if renamed[name] != before[name]} == {"full_name", "updated_at"}
    assert (await after(email=f"x{address}"))["email"] == f"x{address}"
    assert (await after(roles=[other]))["roles"] == [other]
    assert (await after(is_admin=True))["roles"] == ["admin", other]
    assert (await after(is_admin=False, email=None, full_name=None))["roles"] == [other]
    found = await shown(admin, ada.id)
    assert (found["email"], found["full_name"], found["username"]) == (None, None, ada.username)
    told = [(event, details) for event, details in await events(parts, ada.id) if event != "user.created"]
    assert told[:3] == [
        ("user.updated", {"changed": ["full_name"], "by": "import"}),
        ("user.updated", {"changed": ["email"], "by": "import"}),
        ("role.changed", {"added": [other], "removed": [role], "by": "import"}),
    ]


async def test_what_is_so_already_is_skipped(admin: SignedIn, parts: Parts) -> None:
    ada = await person(admin, email=f"{new_name()}@example.org", full_name="Ada")
    found = await shown(admin, ada.id)
    line = {name: found[name] for name in ("username", "email", "full_name", "is_admin", "is_active", "roles")}

    said = await take(admin, line)

    assert said == [{"line": 1, "status": "skipped", "id": ada.id}]
    assert await shown(admin, ada.id) == found


async def test_the_password_of_who_is_there_stays(client: AsyncClient, admin: SignedIn, parts: Parts) -> None:
    ada = await person(admin)
    session = await log_in(client, ada)
    other = bcrypt.hashpw(b"another-Password-9", bcrypt.gensalt(4)).decode()

    for secret in ({"password": "12345678"}, {"password_hash": other}):
        (said,) = await take(admin, {"username": ada.username, **secret})
        assert said["status"] == "skipped"

    await log_in(client, ada)
    assert (await session.ask("GET", "/me")).status_code == 200


async def test_who_is_deactivated_is_signed_out_on_every_replica(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn
) -> None:
    people = [await person(admin) for _ in range(3)]
    sessions = [await log_in(client, ada) for ada in people]
    for session in sessions:
        for at in (client, *replicas):
            assert (await session.ask("GET", "/me", at=at)).status_code == 200

    for active in (False, True):  # who may sign in again is not signed in again
        said = await take(admin, *({"username": ada.username, "is_active": active} for ada in people))
        assert [each["status"] for each in said] == ["updated"] * 3
        for session in sessions:
            for at in (client, *replicas):
                problem(await session.ask("GET", "/me", at=at), 401, "session_revoked")

    for session in sessions:
        refreshed = await client.post("/refresh", json={"refresh_token": session.refresh_token}, headers=from_ip())
        problem(refreshed, 401, "invalid_refresh_token")


async def test_a_new_name_is_seen_by_the_next_request_everywhere(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, session: SignedIn, ada: Person
) -> None:
    for at in (client, *replicas):
        assert (await session.ask("GET", "/me", at=at)).json()["full_name"] is None

    await take(admin, {"username": ada.username, "full_name": "Ada"})

    for at in (client, *replicas):
        assert (await session.ask("GET", "/me", at=at)).json()["full_name"] == "Ada"


def test_lines_do_not_print_their_secrets() -> None:
    secret = new_password()
    line = ImportLine(username="ada", password_hash=secret)
    exported = msgspec.convert(
        {
            "username": "ada",
            "email": None,
            "full_name": None,
            "is_admin": False,
            "is_active": True,
            "roles": [],
            "must_change_password": False,
            "provider": "local",
            "id": 1,
            "email_verified": False,
            "mfa_enabled": False,
            "created_at": "2026-01-05T09:30:00Z",
            "updated_at": "2026-01-05T09:30:00Z",
            "last_login": None,
            "password_hash": secret,
        },
        ExportLine,
    )

    for each in (line, exported):
        assert "ada" in repr(each)
        assert secret not in repr(each)
