"""Keys come and go: the first one, the one that follows it, and the end of the old one."""

import asyncio
import base64
import json
import time
from typing import Any

import pytest

from app.cli.embedded import Postgres
from app.database import Database
from app.keys import queries, ring
from app.keys.controllers import KEEP_SECONDS
from app.keys.ring import Ring
from tests.conftest import copy_migrated
from tests.keys.kit import JWKS, JWT_SECRET, kid, published, rotate, sign_in, status
from tests.kit import SignedIn, new_name, problem, until
from tests.replica import Start, settings_for

NEVER = 3600.0


# ---- the first one ------------------------------------------------------------------------------------------------


async def test_replicas_that_start_at_once_make_one_key(own_database: str, valkey_url: str) -> None:
    settings = settings_for(own_database, valkey_url)
    databases = [Database(own_database, 2) for _ in range(6)]
    rings = [Ring(db, settings) for db in databases]
    await asyncio.gather(*(db.start() for db in databases))

    await asyncio.gather(*(each.start() for each in rings))

    key_sets = [each.jwks()["keys"] for each in rings]
    assert all(keys == key_sets[0] for keys in key_sets)
    assert {each.signing().kid for each in rings} == {key["kid"] for key in key_sets[0]}
    assert len(key_sets[0]) == 1
    await asyncio.gather(*(each.stop() for each in rings))
    await asyncio.gather(*(db.stop() for db in databases))


async def test_until_there_is_a_key_nobody_is_told_that_there_is_none(
    start: Start, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verifier would take an empty key set for the truth, and refuse every token."""
    name = new_name("later")
    replica = await start(database_url=postgres.url(name))
    problem(await replica.client.get(JWKS), 503, "unavailable")

    copy_migrated(postgres, name)

    async def to_be_had() -> bool:
        return (await replica.client.get(JWKS)).status_code == 200

    await until(to_be_had)
    assert len(await published(replica)) == 1


async def test_keys_that_an_operator_has_deleted_are_replaced(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "RELOAD_INTERVAL", 0.02)
    replica = await start()
    stolen = await sign_in(replica)

    await replica.parts.db.execute("DELETE FROM signing_keys")

    async def replaced() -> bool:
        answer = await replica.client.get(JWKS)
        return answer.status_code == 200 and kid(stolen) not in answer.text

    await until(replaced)
    assert await status(replica, stolen) == 401
    assert await status(replica, await sign_in(replica)) == 200


# ---- rotation -----------------------------------------------------------------------------------------------------


async def test_a_new_key_is_published_before_it_signs_and_the_old_one_stays_good(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "RELOAD_INTERVAL", 0.02)
    one, other = await start(), await start()
    before = await sign_in(one)

    new = await rotate(one)

    async def both_published() -> bool:
        return [{key["kid"] for key in await published(each)} for each in (one, other)] == [{kid(before), new}] * 2

    await until(both_published)
    meanwhile = await before.refreshed(one.client)
    assert kid(meanwhile) == kid(before)

    await one.parts.db.execute("UPDATE signing_keys SET signing_from = clock_timestamp() WHERE kid = $1", new)

    async def signs() -> bool:
        return [kid(await sign_in(each)) for each in (one, other)] == [new, new]

    await until(signs)
    for session in (before, meanwhile, await before.refreshed(other.client)):
        assert [await status(each, session) for each in (one, other)] == [200, 200]


def test_a_new_key_signs_after_every_replica_and_verifier_has_seen_it() -> None:
    assert KEEP_SECONDS + ring.RELOAD_INTERVAL < ring.PUBLISH_SECONDS


async def test_a_replica_looks_for_a_key_that_it_does_not_know(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "RELOAD_INTERVAL", NEVER)
    old, newer = await start(), await start()
    new = await rotate(newer)
    await newer.parts.db.execute("UPDATE signing_keys SET signing_from = clock_timestamp() WHERE kid = $1", new)
    await newer.parts.ring.look()

    for _ in range(3):  # the second time it has looked just now
        session = await sign_in(newer)
        assert kid(session) == new
        assert await status(old, session) == 200


def forged(session: SignedIn, name: str) -> dict[str, str]:
    """A token of the same shape, by a key that nobody has."""
    header = {"alg": "ES256", "typ": "at+jwt", "kid": name}
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return {"Authorization": f"Bearer {encoded}.{session.access.partition('.')[2]}"}


async def test_forged_names_of_keys_do_not_make_us_look_each_time(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await start()
    session = await sign_in(replica)
    looks = 0
    all_keys = queries.all_keys

    async def counted(db: Any) -> Any:
        nonlocal looks
        looks += db is replica.parts.db
        return await all_keys(db)

    monkeypatch.setattr(queries, "all_keys", counted)
    began = time.monotonic()
    for number in range(8):
        names = [f"forged-{number}-{each}" for each in range(6)]
        answers = await asyncio.gather(*(replica.client.get("/me", headers=forged(session, name)) for name in names))
        for answer in answers:
            problem(answer, 401, "invalid_token")
    most = (time.monotonic() - began) / ring.UNKNOWN_INTERVAL + 3  # the first, the last, and perhaps the keeper's

    assert looks <= most


async def test_a_key_that_cannot_be_looked_for_is_no_proof_of_a_bad_token(
    start: Start, postgres: Postgres, own_database: str
) -> None:
    replica = await start()
    session = await sign_in(replica)
    assert await status(replica, session) == 200

    postgres.sql(f'DROP DATABASE "{own_database.rpartition("/")[2]}" WITH (FORCE)')

    answers = await asyncio.gather(
        *(replica.client.get("/me", headers=forged(session, f"new-{number}")) for number in range(5))
    )
    for answer in [*answers, await replica.client.get("/me", headers=forged(session, "new"))]:
        problem(answer, 503, "unavailable")
    assert await status(replica, session) == 200


# ---- keys of other releases, and the end of a key -----------------------------------------------------------------


async def test_a_key_that_a_newer_release_has_made_does_not_stop_an_older_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "RELOAD_INTERVAL", 0.02)
    running = await start()
    await running.parts.db.execute(
        "INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, signing_from) "
        """VALUES ('new', 'ML-DSA-87', '{"kty": "AKP", "alg": "ML-DSA-87", "pub": "x"}', '', clock_timestamp())"""
    )
    started = await start()

    new = await rotate(started)

    async def seen() -> bool:
        return new in {key["kid"] for key in await published(running)}

    await until(seen)
    assert await status(running, await sign_in(started)) == 200


@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        # Seconds since each key signs, by name and algorithm; a token lives 1000 seconds here.
        ({"only": ("ES256", 999_999)}, {"only"}),
        ({"old": ("ES256", 5000), "new": ("ES256", 1001)}, {"new"}),
        ({"old": ("ES256", 5000), "new": ("ES256", 990)}, {"old", "new"}),
        ({"old": ("ES256", 5000), "next": ("ES256", -20)}, {"old", "next"}),
        ({"older": ("ES256", 9000), "old": ("ES256", 5000), "new": ("ES256", 990)}, {"old", "new"}),
        ({"older": ("ES256", 9000), "old": ("ES256", 1001), "next": ("ES256", -20)}, {"old", "next"}),
        # Another algorithm may be in use for a day by replicas that were not restarted yet.
        ({"old": ("ES256", 50_000), "new": ("EdDSA", 40_000)}, {"old", "new"}),
        ({"old": ("ES256", 500_000), "new": ("EdDSA", 90_000)}, {"new"}),
    ],
)
async def test_a_key_is_deleted_once_none_of_its_tokens_can_be_alive(
    start: Start, keys: dict[str, tuple[str, int]], kept: set[str]
) -> None:
    db = (await start(jwt_algorithm="HS256", jwt_secret=JWT_SECRET)).parts.db
    for name, (algorithm, seconds) in keys.items():
        await db.execute(
            "INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, signing_from) "
            "VALUES ($1, $2, '{}', '', clock_timestamp() - make_interval(secs => $3))",
            name,
            algorithm,
            float(seconds),
        )

    async with db.transaction() as tx:
        deleted = await queries.delete_retired(tx, 1000.0)

    assert {row["kid"] for row in await db.fetch("SELECT kid FROM signing_keys")} == kept
    assert deleted == len(keys) - len(kept)
