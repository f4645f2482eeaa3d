"""DATABASE_URL through PgBouncer in transaction mode, with fewer sessions than there are connections."""

import asyncio
from collections.abc import Iterator

import pytest

from app.cli.embedded import Postgres, Valkey
from app.identity.accounts import create_first_admin
from tests.cli.conftest import Run, environment_for
from tests.conftest import ADMIN, by_the_service
from tests.kit import from_ip, log_in, register, until
from tests.replica import Start
from tests.stores.pair import Pair, signed_in
from tests.stores.pooler import SESSIONS, Pooler

TOGETHER = 12  # people at once: four times the sessions


@pytest.fixture
def pooler(own_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooler]:
    with Pooler(tmp_path_factory.mktemp("pooler") / "pgbouncer", by_the_service(own_database)) as server:
        yield server


@pytest.fixture
async def pair(start: Start, pooler: Pooler) -> Pair:
    """They have nobody's rights but the service's, and one administrator."""
    how = {"database_url": pooler.url, "database_pooler": "transaction", "rate_limit_register": None}
    pair = Pair(await start(**how), await start(**how))
    await create_first_admin(pair.here.parts.db, pair.here.parts.passwords, ADMIN.username, ADMIN.password)
    return pair


async def test_sessions_live_and_end_as_without_one(pair: Pair) -> None:
    people = await asyncio.gather(*(register(pair.here.client) for _ in range(TOGETHER)))
    sessions = await asyncio.gather(*(log_in(pair.here.client, each) for each in people))
    refreshed = await asyncio.gather(*(each.refreshed(pair.there.client) for each in sessions))
    assert await asyncio.gather(*(pair.statuses(each) for each in refreshed)) == [[200, 200]] * TOGETHER

    ended = await asyncio.gather(*(each.ask("POST", "/logout") for each in refreshed[1:]))

    assert {each.status_code for each in ended} == {204}
    assert await asyncio.gather(*(pair.statuses(each) for each in refreshed[1:])) == [[401, 401]] * (TOGETHER - 1)
    assert await pair.statuses(refreshed[0]) == [200, 200]
    again = await pair.here.client.post(
        "/refresh", json={"refresh_token": refreshed[1].refresh_token}, headers=from_ip()
    )
    assert again.status_code == 401
    assert await pair.by_valkey(refreshed[0])


async def test_administration_works(pair: Pair) -> None:
    ada = await signed_in(pair)
    admin = await log_in(pair.there.client, ADMIN)

    for method, path, status in (
        ("GET", "/users?search=user&sort=-created_at", 200),
        ("GET", "/sessions", 200),
        ("GET", "/audit", 200),
        ("GET", "/analytics?bucket=hour", 200),
        ("POST", "/cleanup", 200),
        ("GET", "/users/export", 200),
        ("DELETE", f"/sessions/{ada.user_id}", 200),
        ("GET", "/health", 200),
    ):
        answers = await asyncio.gather(*(admin.ask(method, path) for _ in range(SESSIONS + 1)))
        assert {each.status_code for each in answers} == {status}, answers[0].text
    assert await pair.statuses(ada) == [401, 401]


async def test_lists_are_planned_as_without_one(pair: Pair) -> None:
    """What a session of the lists asks of PostgreSQL, each of their transactions does, and leaves nothing behind."""
    asked = "SELECT current_setting('enable_seqscan') AS scans, current_setting('statement_timeout') AS ends"
    async with pair.here.parts.lists._db.snapshot() as snapshot:
        in_a_list = await snapshot.fetchrow(asked)
    in_a_report = await pair.here.parts.reports.fetchrow(asked)
    others = await asyncio.gather(*(pair.here.parts.db.fetchrow(asked) for _ in range(2 * SESSIONS)))

    assert in_a_list is not None
    assert in_a_report is not None
    assert dict(in_a_list) == dict(in_a_report) == {"scans": "off", "ends": "5s"}
    assert {dict(each or {})["scans"] for each in others} == {"on"}


async def test_all_connections_share_the_sessions_there_are(pair: Pair, postgres: Postgres, pooler: Pooler) -> None:
    await asyncio.gather(*(signed_in(pair) for _ in range(TOGETHER)))
    opened = sum(each.parts.db.gauge()[0] for each in (pair.here, pair.there))

    database = pooler.url.rpartition("/")[2]
    sessions = int(postgres.sql(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"))
    assert sessions <= SESSIONS < opened


async def test_a_pooler_that_restarts_is_an_outage_that_ends(pair: Pair, pooler: Pooler) -> None:
    kept = await signed_in(pair)
    port = pooler.port
    pooler.stop()
    assert (await kept.ask("POST", "/logout")).status_code == 503
    pooler._port_given, pooler.port = True, port
    pooler.start()

    async def back() -> bool:
        return (await kept.refreshed(pair.there.client)).id == kept.id if await healthy(pair) else False

    await until(back)
    assert (await kept.ask("POST", "/logout")).status_code == 204
    assert await pair.statuses(kept) == [401, 401]


async def healthy(pair: Pair) -> bool:
    return not any(each.parts.entries.outbox.lost for each in (pair.here, pair.there))


def test_check_says_what_the_role_has_to_have(
    run: Run, pooler: Pooler, own_valkey: Valkey, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = environment_for(pooler.url, own_valkey.url)

    assert run("check", **environment) == 1
    assert "DATABASE_POOLER=transaction" in capsys.readouterr().out
    assert run("check", **environment, DATABASE_POOLER="transaction") == 0
    assert "ALTER ROLE service SET statement_timeout = '5s'" in capsys.readouterr().out
    database = pooler.url.rpartition("/")[2]
    for each in ("statement_timeout = '5s'", "jit = 'off'"):
        postgres.sql(f"ALTER ROLE service IN DATABASE {database} SET {each}")
    pooler.stop()
    pooler.start()
    assert run("check", **{**environment, "DATABASE_URL": pooler.url}, DATABASE_POOLER="transaction") == 0
    assert "ALTER ROLE" not in capsys.readouterr().out
