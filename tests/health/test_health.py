"""Probes: live, ready, started; and how the stores are, for whoever may know."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient, Response

from app.cli.embedded import Postgres, Valkey
from app.health import service
from app.identity.accounts import create_first_admin
from app.parts import Parts
from db import schema
from db.revisions import known
from tests.conftest import ADMIN
from tests.health.conftest import NOWHERE, Database
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, new_password, problem
from tests.replica import Start

NO_DATABASE = f"postgresql://gatehouse@{NOWHERE}/gatehouse"
NO_VALKEY = f"valkey://{NOWHERE}/0"


async def details(client: AsyncClient, admin: SignedIn) -> dict[str, Any]:
    body: dict[str, Any] = (await client.get("/health", headers=admin.bearer)).json()
    return {"status": body["status"], **{name: check["status"] for name, check in body["checks"].items()}}


async def administrator(client: AsyncClient) -> SignedIn:
    """Signed in where there was nobody yet."""
    parts: Parts = client._transport.app.app.state.parts  # type: ignore[attr-defined]
    await create_first_admin(parts.db, parts.passwords, ADMIN.username, ADMIN.password)
    return await log_in(client, ADMIN)


def says(answer: Response, status: int, word: str) -> bool:
    return answer.status_code == status and answer.json() == {"status": word}


# ---- all is well --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/health", "/health/live", "/health/ready", "/health/ready?degraded=ok", "/health/startup"]
)
async def test_all_is_well(client: AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert says(answer, 200, "ok")
    assert answer.headers["cache-control"] == "no-store"


async def test_the_details_are_for_who_maintains(client: AsyncClient, admin: SignedIn, session: SignedIn) -> None:
    body = (await client.get("/health", headers=admin.bearer)).json()

    assert set(body) == {"status", "version", "uptime_seconds", "checks"}
    assert body["version"] == service.RELEASE
    assert isinstance(body["uptime_seconds"], int)
    assert {name: check["status"] for name, check in body["checks"].items()} == {
        "database": "ok",
        "valkey": "ok",
        "migrations": "ok",
    }
    assert body["checks"]["database"]["latency_ms"] > 0
    assert body["checks"]["valkey"]["latency_ms"] > 0
    assert says(await session.ask("GET", "/health"), 200, "ok")


async def test_who_has_to_change_the_password_first_is_told_so(
    client: AsyncClient, admin: SignedIn, parts: Parts, ada: Person
) -> None:
    await parts.db.execute("INSERT INTO user_roles (user_id, role) VALUES ($1, 'admin')", ada.id)
    await parts.db.execute("UPDATE users SET must_change_password = true WHERE id = $1", ada.id)
    novice = await log_in(client, ada)

    problem(await novice.ask("GET", "/health"), 403, "password_change_required")


async def test_a_bad_token_is_refused_rather_than_overlooked(client: AsyncClient) -> None:
    problem(await client.get("/health", headers={"Authorization": "Bearer x"}), 401, "invalid_token")


async def test_an_unknown_word_for_degraded_is_invalid(client: AsyncClient) -> None:
    answer = problem(await client.get("/health/ready?degraded=maybe"), 422, "validation_failed")

    assert answer["errors"][0]["field"] == "degraded"


# ---- draining -----------------------------------------------------------------------------------------------------


async def test_who_drains_is_live_and_not_ready(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_RUNTIME_DIR", str(tmp_path))
    client = (await start()).client
    assert says(await client.get("/health/ready"), 200, "ok")

    (tmp_path / "draining").touch()

    for path in ("/health/ready", "/health/ready?degraded=ok"):
        answer = await client.get(path)
        problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"
    assert says(await client.get("/health/live"), 200, "ok")
    assert says(await client.get("/health/startup"), 200, "ok")
    problem(await client.get("/me"), 401, "not_authenticated")


# ---- stores that are away -----------------------------------------------------------------------------------------


async def test_without_valkey_it_is_degraded_and_ready(start: Start, own_valkey: Valkey) -> None:
    client = (await start()).client
    admin = await administrator(client)

    own_valkey.stop()

    assert says(await client.get("/health"), 200, "degraded")
    assert await details(client, admin) == {
        "status": "degraded",
        "database": "ok",
        "valkey": "down",
        "migrations": "ok",
    }
    for path in ("/health/ready", "/health/ready?degraded=ok"):
        assert says(await client.get(path), 200, "degraded")
    assert says(await client.get("/health/startup"), 200, "ok")


async def test_without_postgresql_it_is_down_and_ready_only_for_who_has_asked_for_little(
    start: Start, database: Database, own_valkey: Valkey
) -> None:
    client = (await start()).client
    admin = await administrator(client)
    assert (await client.get("/me", headers=admin.bearer)).status_code == 200
    assert says(await client.get("/health/ready"), 200, "ok")

    database.goes_away()

    assert says(await client.get("/health"), 503, "down")
    problem(await client.get("/health/ready"), 503, "unavailable")
    assert says(await client.get("/health/ready?degraded=ok"), 200, "ok")
    assert says(await client.get("/health/startup"), 200, "ok")
    assert says(await client.get("/health/live"), 200, "ok")
    answer = await client.get("/health", headers=admin.bearer)
    assert answer.status_code == 503
    assert await details(client, admin) == {
        "status": "down",
        "database": "down",
        "valkey": "ok",
        "migrations": "unknown",
    }

    own_valkey.stop()

    problem(await client.get("/health/ready?degraded=ok"), 503, "unavailable")
    assert says(await client.get("/health/live"), 200, "ok")


async def test_who_was_never_ready_is_not_ready_by_valkey_alone(start: Start) -> None:
    client = (await start(database_url=NO_DATABASE)).client

    for path in ("/health/ready", "/health/ready?degraded=ok", "/health/startup"):
        problem(await client.get(path), 503, "unavailable")


async def test_a_schema_that_did_not_fit_is_not_forgotten_when_postgresql_goes_away(
    start: Start, database: Database
) -> None:
    client = (await start()).client
    database.sql("INSERT INTO schema_history (revision, oldest_release) VALUES ('9999', '99.0.0')")
    problem(await client.get("/health/ready?degraded=ok"), 503, "unavailable")

    database.goes_away()

    problem(await client.get("/health/ready?degraded=ok"), 503, "unavailable")


async def test_strict_revocation_is_not_ready_by_valkey_alone(start: Start, database: Database) -> None:
    client = (await start(strict_revocation=True)).client
    assert says(await client.get("/health/ready"), 200, "ok")

    database.goes_away()

    problem(await client.get("/health/ready?degraded=ok"), 503, "unavailable")


async def test_without_any_store_it_is_live_and_says_that_it_cannot_serve(start: Start) -> None:
    client = (await start(database_url=NO_DATABASE, valkey_url=NO_VALKEY)).client

    assert says(await client.get("/health/live"), 200, "ok")
    assert says(await client.get("/health"), 503, "down")
    for path in ("/health/ready", "/health/ready?degraded=ok", "/health/startup"):
        problem(await client.get(path), 503, "unavailable")
    answer = await client.post("/login", json={"username": "x", "password": new_password()}, headers=from_ip())
    problem(answer, 503, "unavailable")


# ---- the schema ---------------------------------------------------------------------------------------------------


async def test_before_the_first_migration_it_is_live_and_waits(start: Start, postgres: Postgres) -> None:
    name = new_name("empty")
    postgres.create_database(name)
    client = (await start(database_url=postgres.url(name))).client
    assert says(await client.get("/health/live"), 200, "ok")
    problem(await client.get("/health/ready"), 503, "unavailable")

    await schema.upgrade(postgres.url(name))

    async with asyncio.timeout(20):
        while not says(await client.get("/health/ready"), 200, "ok"):
            await asyncio.sleep(0.01)  # as probes do


async def test_a_schema_that_is_merely_newer_is_ready(start: Start, database: Database) -> None:
    client = (await start()).client

    for oldest in ("0.0.1", service.RELEASE, f"{service.RELEASE}rc1"):
        database.sql(
            f"INSERT INTO schema_history (revision, oldest_release) VALUES ('9999', '{oldest}') "
            f"ON CONFLICT (revision) DO UPDATE SET oldest_release = '{oldest}'"
        )
        assert says(await client.get("/health/ready"), 200, "ok")


@pytest.mark.parametrize("oldest", ["99.0.0", "99.1.0rc1", "99"])
async def test_a_schema_that_this_release_is_too_old_for_is_not_ready(
    start: Start, database: Database, oldest: str
) -> None:
    database.sql(f"INSERT INTO schema_history (revision, oldest_release) VALUES ('9999', '{oldest}')")
    client = (await start()).client
    admin = await administrator(client)

    for path in ("/health/ready", "/health/ready?degraded=ok", "/health/startup"):
        problem(await client.get(path), 503, "unavailable")
    found = await details(client, admin)
    assert (found["status"], found["database"], found["migrations"]) == ("down", "ok", "down")


async def test_the_newest_migration_decides_which_releases_may_run(start: Start, database: Database) -> None:
    """An older one may have allowed less, or more, in its time."""
    client = (await start()).client

    database.sql("INSERT INTO schema_history VALUES ('9998', '99.0.0'), ('9999', '0.0.1')")

    assert says(await client.get("/health/ready"), 200, "ok")


async def test_a_schema_that_lacks_a_migration_of_this_release_is_not_ready(start: Start, database: Database) -> None:
    client = (await start()).client
    assert says(await client.get("/health/ready"), 200, "ok")

    database.sql(f"UPDATE schema_history SET revision = '0000' WHERE revision = '{max(known())}'")

    problem(await client.get("/health/ready"), 503, "unavailable")
    problem(await client.get("/health/ready?degraded=ok"), 503, "unavailable")
    database.sql("DROP TABLE schema_history")
    problem(await client.get("/health/ready"), 503, "unavailable")
    assert says(await client.get("/health"), 503, "down")
