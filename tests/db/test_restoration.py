"""A backup that was brought back is known for one, serves nobody, and what had ended does not live again."""

import asyncio
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from httpx import AsyncClient

from app.cli.embedded import Postgres
from db import restoration, schema
from db.tables import metadata
from tests.conftest import by_the_service
from tests.db.backups import copy_files, dump, replace, restore
from tests.health.kit import scraped, value
from tests.identity.factorkit import first_step, second_step, with_factor
from tests.identity.mailkit import forgot, joined, link_in, reset
from tests.identity.webauthnkit import added, login_options, sign_in
from tests.kit import from_ip, log_in, new_name, problem, register, until
from tests.mail.kit import Postbox
from tests.replica import Start

DIFFERS = "SELECT array_to_string(incarnation_differs(), ' ')"


async def status(client: AsyncClient, path: str = "/health/ready") -> int:
    return (await client.get(path)).status_code


# ---- what clients see ---------------------------------------------------------------------------------------------


async def test_nothing_that_ended_after_the_backup_lives_again(
    start: Start, own_database: str, postgres: Postgres, postbox: Postbox, tmp_path: Path
) -> None:
    name = own_database.rpartition("/")[2]
    settings = {
        "database_url": by_the_service(own_database),
        "smtp_url": postbox.url,
        "mail_from": "Gatehouse <no-reply@example.test>",
    }
    replica = await start(**settings)
    client = replica.client
    ada, _ = await joined(client, postbox)
    stays, leaves, replaced = [await log_in(client, ada) for _ in range(3)]
    eve = await register(client)
    with_code, authenticator = await with_factor(client, eve)
    pending = await first_step(client, eve)
    await forgot(client, ada.email)
    link = await link_in(postbox, ada.email or "", "reset-password")
    file = dump(own_database, tmp_path / "dump")
    assert (await leaves.ask("POST", "/logout")).status_code == 204
    assert (await replaced.refreshed()).id == replaced.id
    late = await register(client)
    assert await reset(client, link, ada.password) == 204

    restoring = asyncio.create_task(asyncio.to_thread(replace, postgres, name, file))

    async def is_refused() -> bool:
        answer = await leaves.ask("GET", "/me")
        assert answer.status_code in (401, 503), answer.text  # at no moment is it let in
        return restoring.done() and await status(client, "/health/ready?degraded=ok") == 503

    await until(is_refused)
    await restoring
    other = (await start(**settings)).client
    for path in ("/health/ready", "/health/ready?degraded=ok", "/health/startup", "/me"):
        problem(await leaves.ask("GET", path, at=other), 503, "unavailable")
    body = {"username": ada.username, "password": ada.password}
    problem(await other.post("/login", json=body, headers=from_ip()), 503, "unavailable")
    problem(await other.post("/refresh", json={"refresh_token": leaves.refresh_token}), 503, "unavailable")

    report = await restoration.restore(own_database)

    assert report.ended == 4
    assert set(report.told_by) == {"database", "table", "row"}
    for each in (client, other):
        await until(partial(is_ready, each))
        for session in (stays, leaves, replaced, with_code):
            assert (await session.ask("GET", "/me", at=each)).status_code == 401
            answer = await each.post("/refresh", json={"refresh_token": session.refresh_token}, headers=from_ip())
            assert answer.status_code == 401, answer.text
        assert await reset(each, link) == 401
    assert (await log_in(other, ada)).user_id == ada.id
    assert (await register(other)).id > late.id
    for mfa_token in (pending, await first_step(other, eve)):
        assert (await second_step(other, mfa_token, recovery_code=authenticator.codes[0])).status_code == 401


async def is_ready(client: AsyncClient) -> bool:
    return await status(client) == 200


async def test_a_copy_that_lacks_nothing_goes_on_as_it_was(
    start: Start, own_database: str, postgres: Postgres, tmp_path: Path
) -> None:
    client = (await start()).client
    session = await log_in(client, await register(client))

    replace(postgres, own_database.rpartition("/")[2], dump(own_database, tmp_path / "dump"))
    await until(partial(is_unfit, client))
    report = await restoration.restore(own_database, nothing_lost=True)

    assert (report.ended, report.deleted) == (0, {})
    await until(partial(is_ready, client))
    assert (await session.ask("GET", "/me")).status_code == 200
    assert (await session.refreshed()).id == session.id


async def test_what_valkey_still_has_is_not_told_when_the_copy_goes_away_again(
    start: Start, own_database: str, postgres: Postgres, tmp_path: Path
) -> None:
    """Where PostgreSQL is merely away, it is."""
    replica = await start()
    session = await log_in(replica.client, await register(replica.client))
    assert (await session.ask("GET", "/me")).status_code == 200
    name = own_database.rpartition("/")[2]
    replace(postgres, name, dump(own_database, tmp_path / "dump"))
    await until(lambda: replica.parts.entries.outbox.unfit)

    postgres.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    await until(lambda: replica.parts.entries.outbox.lost)

    problem(await session.ask("GET", "/me"), 503, "unavailable")
    problem(await replica.client.get("/health/ready?degraded=ok"), 503, "unavailable")


async def test_a_challenge_of_before_is_answered_no_more(start: Start, own_database: str) -> None:
    """It may have been answered after the backup, which would not know."""
    client = (await start()).client
    key = await added(await log_in(client, await register(client)))
    before = await login_options(client)

    await restoration.restore(own_database, anyway=True)

    await until(partial(is_ready, client))
    problem(await sign_in(client, key.shown(before)), 401, "invalid_credentials")
    assert (await sign_in(client, key.shown(await login_options(client)))).status_code == 200


async def test_metrics_tell_a_copy_from_a_database_that_is_away(
    start: Start, own_database: str, postgres: Postgres, tmp_path: Path
) -> None:
    replica = await start()

    async def told() -> dict[str, float]:
        found = await scraped(replica.client)
        return {name: value(found, f"auth_{name}") for name in ("ready", "database_away", "database_unfit")}

    assert await is_ready(replica.client)
    assert await told() == {"ready": 1, "database_away": 0, "database_unfit": 0}

    replace(postgres, own_database.rpartition("/")[2], dump(own_database, tmp_path / "dump"))
    await until(lambda: replica.parts.entries.outbox.unfit)

    assert await told() == {"ready": 0, "database_away": 0, "database_unfit": 1}


async def is_unfit(client: AsyncClient) -> bool:
    return await status(client) == 503


# ---- by what it is known ------------------------------------------------------------------------------------------


async def differs(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        found: str = await connection.fetchval(DIFFERS)
        return found
    finally:
        await connection.close()


async def test_what_an_administrator_does_to_a_database_makes_no_copy_of_it(
    own_database: str, postgres: Postgres
) -> None:
    name, another = own_database.rpartition("/")[2], new_name("renamed")
    for statement in (
        "VACUUM (FREEZE) incarnation",
        "VACUUM FULL incarnation",
        "ALTER TABLE incarnation ADD note text",
    ):
        postgres.sql(statement, name)
    postgres.sql(f'ALTER DATABASE {name} RENAME TO "{another}"')

    assert await differs(postgres.url(another)) == ""


async def test_a_copy_by_template_is_known(own_database: str, postgres: Postgres) -> None:
    name = new_name("copy")
    postgres.create_database(name, template=own_database.rpartition("/")[2])

    assert await differs(postgres.url(name)) == "database"


async def test_a_dump_restored_into_the_same_database_is_known(
    own_database: str, postgres: Postgres, tmp_path: Path
) -> None:
    name = own_database.rpartition("/")[2]
    file = dump(own_database, tmp_path / "dump")

    postgres.sql("TRUNCATE incarnation", name)
    assert "row" in await differs(own_database)
    restore(own_database, file, "--data-only", "--table=incarnation")
    assert await differs(own_database) == "row"

    postgres.sql("DROP SCHEMA public CASCADE", name)
    postgres.sql("CREATE SCHEMA public", name)
    restore(own_database, file)
    assert await differs(own_database) == "table row"


async def test_what_a_server_does_not_tell_makes_no_copy(own_database: str, postgres: Postgres) -> None:
    """It may have told it before, or tell it one day: a matter of rights and versions."""
    written_here = "written_in = pg_current_xact_id()::text::bigint & 4294967295"

    postgres.sql(f"UPDATE incarnation SET cluster = '', timeline = '', {written_here}", own_database.rpartition("/")[2])

    assert await differs(own_database) == ""


async def test_a_server_that_was_started_on_restored_files_is_known_by_its_timeline(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """As after a recovery to a point in time, or a failover: it ends in a timeline of its own."""
    directory = tmp_path_factory.mktemp("stores")
    with Postgres(directory / "one", settings=["fsync=off", "shared_buffers=16MB"]) as server:
        await schema.upgrade(server.url())
        before = server.sql("SELECT system_identifier FROM pg_control_system()")
    files = copy_files(server, directory / "other")

    (files / "data" / "standby.signal").touch()
    with Postgres(files, settings=["fsync=off", "shared_buffers=16MB"]) as still_recovering:
        url = still_recovering.url()
        assert await differs(url) == "recovery"
        assert await restoration.copied(url, lossless_failover=True) == ["recovery"]  # it is behind, whatever it loses
    (files / "data" / "standby.signal").rename(files / "data" / "recovery.signal")
    with Postgres(files, settings=["fsync=off", "shared_buffers=16MB", "restore_command=false"]) as other:
        url = other.url()
        await until(lambda: other.sql("SELECT pg_is_in_recovery()") == "f")

        assert other.sql("SELECT system_identifier FROM pg_control_system()") == before
        assert await differs(url) == "timeline"
        assert await restoration.copied(url, lossless_failover=False) == ["timeline"]
        assert await restoration.copied(url, lossless_failover=True) == []
        await restoration.restore(url)
        assert await differs(url) == ""
    with other:
        assert await differs(other.url()) == ""  # a start makes no copy


# ---- what becomes of it -------------------------------------------------------------------------------------------


def test_of_every_table_it_is_decided_what_a_restore_does_to_it() -> None:
    """Whoever adds one: may a row of it be good for something that has ended, or been used up, since the backup?"""
    decided = [*restoration.EMPTIED, *restoration.CHANGED, *restoration.KEPT]

    assert sorted(decided) == sorted(metadata.tables)


async def test_no_number_is_given_out_again(own_database: str, postgres: Postgres) -> None:
    name = own_database.rpartition("/")[2]
    last = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"
    counts = "SELECT epoch, number FROM cache_epoch, role_table"
    numbers, before = postgres.sql(last, name), postgres.sql(counts, name)

    await restoration.restore(own_database, anyway=True)

    after = dict(line.split("|") for line in postgres.sql(last, name).splitlines())
    assert set(after) == {line.split("|")[0] for line in numbers.splitlines()}
    assert all(int(number) > restoration.LEAP for number in after.values())
    now = [int(count) for count in postgres.sql(counts, name).split("|")]
    assert all(count > 1_000_000_000 for count in now), before


async def test_it_is_an_event_of_the_trail(own_database: str, postgres: Postgres) -> None:
    await restoration.restore(own_database, anyway=True)

    event = postgres.sql("SELECT event FROM audit_events ORDER BY id DESC LIMIT 1", own_database.rpartition("/")[2])
    assert event == "database.restored"


async def test_the_service_may_not_say_so_itself(postgres_url: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await restoration.restore(postgres_url, nothing_lost=True)
