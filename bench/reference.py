"""What the work costs without a service around it: the hash, and the compare-and-set with its commit."""

import asyncio
import subprocess
import sys
import time

import asyncpg
import uvloop
from argon2 import PasswordHasher

from app.database import Database
from app.sessions.queries import COLUMNS, LIVE
from app.settings import Settings

SWAP = "UPDATE sessions SET generation = generation + 1 WHERE id = $1 AND generation = $2 RETURNING generation"
ROTATE = f"""
    WITH rotated AS (
        UPDATE sessions s
        SET generation = s.generation + 1, rotated_at = clock_timestamp(), last_accessed = clock_timestamp(),
            ip_address = $3, user_agent = $4
        WHERE s.id = $1 AND s.generation = $2 AND {LIVE}
        RETURNING {COLUMNS}
    ), recorded AS (
        INSERT INTO audit_events (event, user_id, actor_id, session_id, ip_address, user_agent, request_id)
        SELECT 'token.refreshed', user_id, user_id, session_id, $3, $4, $5 FROM rotated
    )
    SELECT * FROM rotated
"""  # noqa: S608 - only constants are put in
OPEN = """
    INSERT INTO sessions (id, user_id, expires_at, amr)
    SELECT gen_random_uuid(), (SELECT min(id) FROM users), now() + interval '1 day', '{pwd}' FROM generate_series(1, $1)
    RETURNING id
"""


def hashes(core: int, seconds: float) -> float:
    """argon2id hashes a second, by the settings' defaults, one after the other on one core."""
    return _on(core, "hashes", str(seconds))


def swaps(core: int, database_url: str, connections: int, seconds: float) -> float:
    """Compare-and-sets a second, each with its commit, by asyncpg as it comes, on a pool as large as the service's."""
    return _on(core, "swaps", database_url, str(connections), str(seconds))


def rotations(core: int, database_url: str, connections: int, seconds: float) -> float:
    """Rotations a second, each with its audit row and commit, on the service's own pool, which sends no reset."""
    return _on(core, "rotations", database_url, str(connections), str(seconds))


def _on(core: int, *arguments: str) -> float:
    command = ["taskset", "-c", str(core), sys.executable, "-m", "bench.reference", *arguments]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603


def _hashes(seconds: float) -> float:
    defaults = Settings()
    hasher = PasswordHasher(
        time_cost=defaults.argon2_time_cost,
        memory_cost=defaults.argon2_memory_kib,
        parallelism=defaults.argon2_parallelism,
    )
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        hasher.hash("correct horse battery staple")
        done += 1
    return done / (time.perf_counter() - started)


async def _swaps(database_url: str, callers: int, seconds: float) -> float:
    size = Settings().database_pool_size
    async with asyncpg.create_pool(database_url, min_size=size, max_size=size) as pool:
        return await _pace(pool, SWAP, (), callers, seconds)


async def _rotations(database_url: str, callers: int, seconds: float) -> float:
    database = Database(database_url, Settings().database_pool_size)
    await database.start()
    try:
        return await _pace(database.pool, ROTATE, ("192.0.2.1", "bench", "bench"), callers, seconds)
    finally:
        await database.stop()


async def _pace(
    pool: "asyncpg.Pool[asyncpg.Record]", statement: str, said: tuple[str, ...], callers: int, seconds: float
) -> float:
    rows = await pool.fetch(OPEN, callers)
    until = time.perf_counter() + seconds
    done = 0

    async def go_on(session_id: object) -> None:
        nonlocal done
        generation = 0
        while time.perf_counter() < until:
            row = await pool.fetchrow(statement, session_id, generation, *said)
            generation = row["generation"] if row else 0
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(go_on(row["id"]) for row in rows))
    rate = done / (time.perf_counter() - started)
    await pool.execute("DELETE FROM sessions WHERE id = ANY($1)", [row["id"] for row in rows])
    return rate


if __name__ == "__main__":
    if sys.argv[1] == "hashes":
        print(_hashes(float(sys.argv[2])))  # noqa: T201 - the answer to the caller
    else:
        pace = {"swaps": _swaps, "rotations": _rotations}[sys.argv[1]]
        print(uvloop.run(pace(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))  # noqa: T201
