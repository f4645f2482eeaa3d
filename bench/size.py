"""`make bench-size`: what a million live sessions cost in PostgreSQL and in Valkey, in bytes each."""

import asyncio
import tempfile
from pathlib import Path

import asyncpg
from msgspec import msgpack
from valkey.asyncio import Valkey as Client

from app.cache.entries import ENTRY_SECONDS, SNAPSHOT
from app.cli.embedded import Postgres, Valkey
from app.sessions.structs import SESSION_KIND, SessionEntry
from app.uuid7 import uuid7
from db import schema

SESSIONS = 1_000_000
A_USER = 4  # sessions: a laptop, a phone, a tablet, a browser at work
BATCH = 10_000
ROW_AIM, ENTRY_AIM = 500, 350  # bytes; a quarter of a row is what the lists of administration find it by

# of a browser as most are
AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)

OPEN = """
    INSERT INTO sessions (id, user_id, expires_at, amr, ip_address, user_agent, device_name)
    SELECT id, 1 + (number - 1) / $3, clock_timestamp() + interval '30 days', '{pwd}',
           inet '100.64.0.0' + number, $4, 'laptop'
    FROM unnest($1::uuid[], $2::bigint[]) AS v (id, number)
"""


# A twentieth of them is seen in an interval; every row has its turn.
SEE = "UPDATE sessions SET last_accessed = clock_timestamp() WHERE user_id % 20 = $1"
HOT = "SELECT n_tup_hot_upd / n_tup_upd::float8 FROM pg_stat_user_tables WHERE relname = 'sessions'"


async def row_bytes(url: str) -> tuple[float, float]:
    """Of a row with its share of the indexes; and how many of the updates that note when it was seen are HOT."""
    await schema.upgrade(url)
    connection = await asyncpg.connect(url)
    names = "INSERT INTO users (username) SELECT 'user-' || n FROM generate_series(1, $1) n"
    await connection.execute(names, SESSIONS // A_USER)
    for start in range(1, SESSIONS + 1, BATCH):
        ids = [uuid7() for _ in range(BATCH)]
        await connection.execute(OPEN, ids, list(range(start, start + BATCH)), A_USER, AGENT)
    await connection.execute("VACUUM ANALYZE sessions")
    size: int = await connection.fetchval("SELECT pg_total_relation_size('sessions')")
    for turn in range(20):
        await connection.execute(SEE, turn)
    await connection.execute("SELECT pg_stat_force_next_flush()")
    hot: float = await connection.fetchval(HOT)
    await connection.close()
    return size / SESSIONS, hot


async def entry_bytes(url: str) -> float:
    """Of an entry with its key and all that Valkey keeps of it."""
    client = Client.from_url(url)
    before = (await client.info("memory"))["used_memory"]
    for start in range(1, SESSIONS + 1, BATCH):
        pipe = client.pipeline(transaction=False)
        for number in range(start, start + BATCH):
            entry = msgpack.encode(SessionEntry(number // A_USER, 3, 1_790_000_000, ["pwd"]))
            pipe.set(f"gatehouse:1:{SESSION_KIND}:{uuid7()}", SNAPSHOT + entry, ex=10 * ENTRY_SECONDS)
        await pipe.execute()
    after = (await client.info("memory"))["used_memory"]
    await client.aclose()
    return float(after - before) / SESSIONS


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        directory.chmod(0o711)  # PostgreSQL runs as somebody else where we are root
        settings = ["fsync=off", "max_wal_size=4GB"]
        with Postgres(directory / "postgres", settings=settings) as postgres, Valkey(directory / "valkey") as valkey:
            row, hot = asyncio.run(row_bytes(postgres.url()))
            entry = asyncio.run(entry_bytes(valkey.url))
    print(f"of {SESSIONS:,} live sessions, each:")  # noqa: T201 - the answer
    print(f"  a row in PostgreSQL with its indexes  {row:.0f} bytes (at most {ROW_AIM})")  # noqa: T201
    print(f"  an entry in Valkey                    {entry:.0f} bytes (at most {ENTRY_AIM})")  # noqa: T201
    print(f"  updates that touch no index           {hot:.1%}")  # noqa: T201
    return 0 if row <= ROW_AIM and entry <= ENTRY_AIM else 1


if __name__ == "__main__":
    raise SystemExit(main())
