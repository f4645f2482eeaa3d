"""`make bench-door`: what an answer's time tells of an account, and what 300 logins at once do to the rest.

First: whether known and unknown, inactive, password-less and locked accounts can be told apart by how long login,
forgot and passkey options take. Each sample is a name of its own, asked in random order on one connection. Then: many
right logins from one address. Then: a flood, from as many connections as it has parallel tries, against one worker
with default settings.
"""

import asyncio
import math
import os
import random
import statistics
import sys
import time
from collections import Counter
from itertools import chain, count

import asyncpg
import psutil

from bench import load
from bench.stack import Stack, processors, running

SAMPLES = 1000  # a kind
WARM_UP = 20
ERRORS = 3.0  # standard errors that two kinds may be apart: less than one pair in a hundred is, by chance
LOCKING = 10  # wrong passwords: RATE_LIMIT_ACCOUNT
LOCKED = 8  # accounts of a kind that are locked, and asked in turn

FLOOD, FLOOD_SECONDS = 300, 20  # parallel logins
LIVE_MS, RECOVERY_SECONDS = 250.0, 2.0  # at most: the 99th of 100 answers of /health/live, and the first login after it
ARGON2_MIB = 19  # of a hash (ARGON2_MEMORY_KIB)
MARGIN_MIB = 60  # for 300 connections with what they hold, and for the allocator
REGULARS, ADDRESS = 1000, 1 << 21  # logins, and an address (bench/load.py) that nothing else comes from
OK, OVERLOADED, REFUSED, LIMITED = 200, 503, 401, 429

HEADING = """
| call | one | other | statuses | chance that the one takes longer | |
| --- | --- | --- | --- | --- | --- |"""


async def people(database_url: str, password_hash: str) -> None:
    """SAMPLES accounts of each kind, with an address; and some more to be locked."""
    connection = await asyncpg.connect(database_url)
    try:
        for kind, active, stored in (
            ("known", True, password_hash),
            ("inactive", False, password_hash),
            ("passwordless", True, None),
            ("locked", True, password_hash),
        ):
            await connection.execute(
                """
                INSERT INTO users (username, email, email_verified, password_hash, is_active)
                SELECT $1 || '-' || n, $1 || '-' || n || '@example.org', true, $2, $3 FROM generate_series(0, $4) AS n
                """,
                kind,
                stored,
                active,
                SAMPLES + WARM_UP,
            )
    finally:
        await connection.close()


async def some_hash(stack: Stack) -> str:
    """A hash by the service's own settings, of a password that nobody knows."""
    (person,) = await load.sign_in(stack.url, 1)
    connection = await asyncpg.connect(stack.database_url)
    try:
        found: str = await connection.fetchval("SELECT password_hash FROM users WHERE username = $1", person.username)
        return found
    finally:
        await connection.close()


async def seconds(connection: load.Connection, path: str, body: dict[str, str], statuses: Counter[int]) -> float:
    started = time.perf_counter()
    status, _ = await connection.post(path, body)
    statuses[status] += 1
    return time.perf_counter() - started


async def compare(stack: Stack, path: str, field: str, suffix: str, kinds: tuple[str, ...], turns: int) -> bool:
    """Print a line for each kind beside the first; whether none can be told from it."""
    connection = await load.Connection(stack.url).open()
    asked = [(kind, number % turns) for kind in kinds for number in range(SAMPLES)]
    random.shuffle(asked)
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    statuses: dict[str, Counter[int]] = {kind: Counter() for kind in kinds}
    for kind, number in chain(random.choices(asked, k=WARM_UP), asked):  # noqa: S311 - an order, no secret
        body = {field: f"{kind}-{number}{suffix}"} | ({"password": "not-the-Password-9"} if path == "/login" else {})
        taken[kind].append(await seconds(connection, path, body, statuses[kind]))
    connection.close()
    good = True
    first, *others = kinds
    for kind in others:
        apart = chance(taken[first], taken[kind])
        bound = ERRORS * math.sqrt((2 * SAMPLES + 1) / (12 * SAMPLES * SAMPLES))
        told = "cannot be told" if abs(apart - 0.5) <= bound else "CAN BE TOLD"
        alike = statuses[first].keys() == statuses[kind].keys()
        medians = [statistics.median(taken[each]) * 1000 for each in (first, kind)]
        print(  # noqa: T201 - the table itself
            f"| {path} | {first} {medians[0]:.2f} ms | {kind} {medians[1]:.2f} ms | {sorted(statuses[kind])} "
            f"| {apart:.3f} (0.5 ± {bound:.3f}) | {told} |",
            flush=True,
        )
        good &= told == "cannot be told" and alike
    return good


def chance(some: list[float], others: list[float]) -> float:
    """The chance that one of the first takes longer than one of the second: 0.5 if they are alike (Mann-Whitney U)."""
    ranked = sorted([(value, True) for value in some] + [(value, False) for value in others])
    ranks = sum(rank for rank, (_, is_first) in enumerate(ranked, 1) if is_first)
    return (ranks - len(some) * (len(some) + 1) / 2) / (len(some) * len(others))


async def lock(stack: Stack) -> None:
    connection = await load.Connection(stack.url).open()
    for kind in ("locked", "lockednobody"):
        for number in range(LOCKED):
            for _ in range(LOCKING):
                await connection.post("/login", {"username": f"{kind}-{number}", "password": "not-the-Password-9"})
    connection.close()


async def flood(stack: Stack) -> bool:
    """300 logins at once for 20 s: what they get, what everybody else gets, and what it costs."""
    process = psutil.Process(stack.server_pid)
    workers = process.children()
    before = max(worker.memory_info().rss for worker in workers)
    names = (f"known-{number % SAMPLES}" for number in count())  # no account of them comes to its limit
    until = time.perf_counter() + FLOOD_SECONDS
    statuses: Counter[int] = Counter()
    lives: list[float] = []
    most = before

    async def one() -> None:
        connection = await load.Connection(stack.url).open()
        while time.perf_counter() < until:
            status, _ = await connection.post("/login", {"username": next(names), "password": "not-the-Password-9"})
            statuses[status] += 1
        connection.close()

    async def watch() -> None:
        nonlocal most
        while time.perf_counter() < until:
            lives.append(await live(stack))
            most = max([most, *(worker.memory_info().rss for worker in workers)])
            await asyncio.sleep(0.02)

    await asyncio.gather(watch(), *(one() for _ in range(FLOOD)))
    ended = time.perf_counter()
    (again,) = await load.sign_in(stack.url, 1)
    recovery = time.perf_counter() - ended
    p99 = statistics.quantiles(lives, n=100)[98] * 1000
    grown = (most - before) / (1 << 20)
    told = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    print(f"{FLOOD} parallel logins for {FLOOD_SECONDS} s: {told}")  # noqa: T201
    print(f"  /health/live meanwhile: 99 of 100 within {p99:.0f} ms (at most {LIVE_MS:.0f})")  # noqa: T201
    print(f"  memory grew by {grown:.0f} MiB (at most {ARGON2_MIB + MARGIN_MIB})")  # noqa: T201
    print(f"  a registration and a login {recovery:.2f} s after it (at most {RECOVERY_SECONDS})")  # noqa: T201
    return (
        statuses.keys() <= {OVERLOADED, REFUSED, LIMITED}
        and p99 < LIVE_MS
        and grown <= ARGON2_MIB + MARGIN_MIB
        and recovery < RECOVERY_SECONDS
        and bool(again.access_token)
    )


async def regulars(stack: Stack) -> bool:
    """Right logins in a row from one address, which no limit may come between."""
    (person,) = await load.sign_in(stack.url, 1)
    connection = await load.Connection(stack.url).open()
    statuses: Counter[int] = Counter()
    for _ in range(REGULARS):
        credentials = {"username": person.username, "password": person.password}
        status, _ = await connection.post("/login", credentials, ADDRESS)
        statuses[status] += 1
    connection.close()
    print(f"{REGULARS} right logins in a row from one address: {dict(statuses)}")  # noqa: T201
    return statuses.keys() == {OK}


async def live(stack: Stack) -> float:
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    writer.write(b"GET /api/auth/v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise AssertionError(answer[:100])
    return time.perf_counter() - started


async def measure(stack: Stack) -> bool:
    await people(stack.database_url, await some_hash(stack))
    await lock(stack)
    print(HEADING)  # noqa: T201
    name, address = "", "@example.org"
    everybody = ("known", "unknown", "inactive", "passwordless", "locked")
    good = [
        await compare(stack, "/login", "username", name, ("known", "unknown", "inactive", "passwordless"), SAMPLES),
        await compare(stack, "/login", "username", name, ("locked", "lockednobody"), LOCKED),
        await compare(stack, "/password/forgot", "email", address, everybody, SAMPLES),
        await compare(stack, "/login/passkey/options", "username", name, everybody, SAMPLES),
        await regulars(stack),
        await flood(stack),
    ]
    return all(good)


def main() -> int:
    server_core, load_core = processors()
    os.sched_setaffinity(0, {load_core})
    os.environ |= {"SMTP_URL": "smtp://127.0.0.1:9", "MAIL_FROM": "no-reply@example.org"}  # nobody listens there
    with running(server_core) as stack:
        return 0 if asyncio.run(measure(stack)) else 1


if __name__ == "__main__":
    sys.exit(main())
