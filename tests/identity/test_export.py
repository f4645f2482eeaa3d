"""All users as lines that an import takes."""

import msgspec
import pytest
from httpx import AsyncClient
from litestar.exceptions.base_exceptions import LitestarException

from app.identity import bulk_queries, exports
from app.identity.structs import UserEntry
from app.parts import Parts
from tests.identity.importkit import in_pieces, ndjson, report, send, shown
from tests.identity.kit import person
from tests.kit import SignedIn, before_call, log_in, new_name, problem


async def test_everybody_is_in_it_as_he_is_and_no_hash(
    admin: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BATCH", 3)
    made = [await person(admin, email=f"{new_name()}@example.org", full_name="Ada") for _ in range(4)]

    answer = await admin.ask("GET", "/users/export")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert "gatehouse-users.ndjson" in answer.headers["content-disposition"]
    lines = [msgspec.json.decode(line) for line in answer.content.splitlines()]
    rows = await parts.db.fetch("SELECT id FROM users ORDER BY id")
    assert [line["id"] for line in lines] == [row["id"] for row in rows]
    assert b"argon2" not in answer.content
    found = {line["id"]: line for line in lines}
    for ada in made:
        user = await shown(admin, ada.id)
        assert found[ada.id] == {name: value for name, value in user.items() if name != "permissions"}
    assert {*lines[0]} | {"permissions"} == {*UserEntry.__struct_fields__} | {"is_admin", "permissions"}


async def test_an_export_can_be_imported(admin: SignedIn) -> None:
    ada = await person(admin, email=f"{new_name()}@example.org")
    exported = (await admin.ask("GET", "/users/export")).content
    line = next(line for line in exported.splitlines() if msgspec.json.decode(line)["id"] == ada.id)
    elsewhere = ndjson({**msgspec.json.decode(line), "username": new_name(), "provider": "gpustack"})

    said = report(await send(admin, in_pieces(line + b"\n" + elsewhere, 100)))

    assert [each["status"] for each in said] == ["skipped", "error"]
    assert said[1]["message"] == "provider does not fit its description"


async def test_an_export_breaks_off_where_its_caller_has_gone(
    client: AsyncClient, admin: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BATCH", 2)
    grace = await log_in(client, await person(admin, is_admin=True))

    async def sign_out() -> None:
        assert (await grace.ask("POST", "/logout")).status_code == 204

    reads = before_call(monkeypatch, bulk_queries, "after", 2, sign_out)
    with pytest.raises(LitestarException, match="after response started"):
        await grace.ask("GET", "/users/export")

    assert reads == [1, 2]
    problem(await grace.ask("GET", "/users/export"), 401, "session_revoked")
