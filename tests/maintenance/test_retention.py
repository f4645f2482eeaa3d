"""What a clean-up deletes, and what it leaves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.database import Database
from app.maintenance import service
from app.maintenance.service import clean_up
from app.settings import Settings
from tests.maintenance.kit import (
    NOTHING,
    add_events,
    add_month,
    add_sessions,
    count,
    deleted,
    events,
    month,
    partitions,
)


async def test_ended_sessions_are_deleted_after_their_retention(db: Database, own_settings: Settings) -> None:
    await add_sessions(db, 1, revoked_days_ago=31, expired_days_ago=-1)
    await add_sessions(db, 1, revoked_days_ago=None, expired_days_ago=31)
    await add_sessions(db, 1, revoked_days_ago=29)
    await add_sessions(db, 1, revoked_days_ago=None, expired_days_ago=29)
    await add_sessions(db, 1, revoked_days_ago=None)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == deleted(sessions=2)
    assert await count(db, "sessions") == 3


async def test_many_are_deleted_batch_by_batch(
    db: Database, own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH", 100)
    await add_sessions(db, 200, revoked_days_ago=31)
    await add_events(db, 250, days_ago=401)

    report = await clean_up(db, own_settings, None, None)

    assert (report.deleted.sessions, report.deleted.audit_events) == (200, 250)
    assert (await count(db, "sessions"), await count(db, "audit_events")) == (0, 1)


async def test_old_events_are_deleted_with_their_month_or_one_by_one(db: Database, own_settings: Settings) -> None:
    await add_month(db, "2020-01-01")
    await add_month(db, "2020-02-01")
    await db.execute("INSERT INTO audit_events (event, at) VALUES ('logout', '2020-01-31T23:59:59Z')")
    await add_events(db, 3, days_ago=401)
    await add_events(db, 2, days_ago=399)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == deleted(audit_events=3, audit_partitions=2)
    assert await events(db) == ["logout", "logout", "cleanup.ran"]
    assert not {"202001", "202002"} & set(await partitions(db))


async def test_a_month_stays_until_its_last_day_is_old(db: Database, own_settings: Settings) -> None:
    begins = (datetime.now(UTC) - timedelta(days=400)).replace(day=1)
    await add_month(db, f"{begins:%Y-%m}-01")

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == NOTHING
    assert f"{begins:%Y%m}" in await partitions(db)


async def test_retention_is_a_setting(db: Database, own_settings: Settings) -> None:
    await add_sessions(db, 1, revoked_days_ago=1)
    await add_events(db, 1, days_ago=2)

    report = await clean_up(db, replace(own_settings, session_retention_days=0, audit_retention_days=1), None, None)

    assert (report.deleted.sessions, report.deleted.audit_events) == (1, 1)


async def test_changes_that_are_on_their_way_are_left_alone(db: Database, own_settings: Settings) -> None:
    await db.execute("INSERT INTO cache_outbox (key, created_at) VALUES ('u:1', now() - interval '1 year')")

    await clean_up(db, own_settings, None, None)

    assert await count(db, "cache_outbox") == 1


async def add_key(db: Database, kid: str, algorithm: str, signing_days_ago: float) -> None:
    await db.execute(
        """
        INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, signing_from)
        VALUES ($1, $2, '{}', '', now() - make_interval(secs => $3))
        """,
        kid,
        algorithm,
        86400 * signing_days_ago,
    )


async def keys(db: Database) -> list[str]:
    return [row["kid"] for row in await db.fetch("SELECT kid FROM signing_keys ORDER BY kid")]


async def test_a_key_goes_once_its_last_token_has_expired(db: Database, own_settings: Settings) -> None:
    await add_key(db, "a", "ES256", 9)
    await add_key(db, "b", "ES256", 1)
    await add_key(db, "c", "ES256", 0.01)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == deleted(signing_keys=1)
    assert await keys(db) == ["b", "c"]


async def test_the_key_that_signs_stays_where_the_algorithm_was_changed_back(
    db: Database, own_settings: Settings
) -> None:
    await add_key(db, "a", "ES256", 9)
    await add_key(db, "b", "EdDSA", 8)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted.signing_keys == 0
    assert await keys(db) == ["a", "b"]


async def test_months_are_laid_out_ahead(db: Database, own_settings: Settings) -> None:
    await clean_up(db, own_settings, None, None)
    await clean_up(db, own_settings, None, None)

    assert await partitions(db) == [month(0), month(1), month(2), "default"]
    assert await count(db, f"audit_events_{month(0)}") == 2  # both clean-ups themselves


async def test_a_month_that_has_begun_in_the_default_partition_stays_there(
    db: Database, own_settings: Settings
) -> None:
    await add_events(db, 1, days_ago=0)

    report = await clean_up(db, own_settings, None, None)

    assert report.deleted == NOTHING
    assert await partitions(db) == [month(1), month(2), "default"]
    assert await count(db, "audit_events_default") == 2
