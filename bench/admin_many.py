"""Ending many sessions and deleting many, while others are served."""

import asyncio
import json
import signal
import time
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from bench.admin_stores import Service
from bench.load import Connection, Person, login, sign_in
from bench.looking import OK, Taken, looking
from bench.stack import BIN, refuse, say

ENDED, REAL = 10_000, 200  # sessions that a filter ends; and of these, how many have a token that we hold
ENDED_NETWORK = "100.64.0.0/16"  # where they come from: of the addresses of bench/load.py, the first 65,536
ELSEWHERE = 1 << 16  # and an address that is not among them
HOT = 50  # people who look at /me meanwhile
ENDING_SECONDS, TIMES_CALM = 5.0, 2.0  # at most
CALM_SECONDS = 10.0
LOOK_SECONDS = 2.0  # from a look how many are left to the next
UNAUTHENTICATED = 401
OVER = """
    SELECT (SELECT count(*) FROM sessions WHERE revoked_at < over.since)
        + (SELECT count(*) FROM sessions WHERE revoked_at IS NULL AND expires_at < over.since)
    FROM (SELECT $1::timestamptz - interval '30 days' AS since) AS over
"""

MADE = """
    INSERT INTO sessions (id, user_id, expires_at, amr, ip_address, user_agent)
    SELECT gen_random_uuid(), user_id, now() + interval '30 days', '{pwd}', inet '100.64.128.0' + n % 32768, 'phone'
    FROM (SELECT user_id, row_number() OVER () AS n FROM sessions ORDER BY id DESC LIMIT $1) AS people
"""


async def ending(service: Service) -> bool:
    """Whether it is quick, complete on the other replica at once, and in nobody's way."""
    root = await service.administrator()
    one, other = [await Connection(url).open() for url in service.urls]
    people = await sign_in(service.urls[0], REAL)
    hot = await _elsewhere(service, people[:HOT])
    connection = await asyncpg.connect(service.database_url)
    await connection.execute(MADE, ENDED - REAL)
    await connection.execute("ANALYZE sessions", timeout=60)
    await connection.close()
    for person in people:  # both replicas know them
        for replica in (one, other):
            if (await replica.get("/me", person.access_token))[0] != OK:
                refuse("a session that has just begun is refused")
    calm = await _calm(service, hot)
    wanted = {"filter": {"ip": ENDED_NETWORK, "factor": "pwd"}}
    async with looking(service.urls, hot) as meanwhile:
        started = time.perf_counter()
        status, answer = await one.post("/sessions/revoke", wanted, token=root.access_token)
        seconds = time.perf_counter() - started
    if status != OK:
        refuse(f"/sessions/revoke answers {status}: {answer.decode()}")
    said = json.loads(answer)
    refused = sum([(await other.get("/me", person.access_token))[0] == UNAUTHENTICATED for person in people])
    ended: int = said["revoked"]
    say(f"{ended:,} of {said['matched']:,} sessions of a network ended in {seconds:.1f} s (aim {ENDING_SECONDS:.0f})")
    say(f"  of {REAL} tokens among them the other replica refuses {refused} at once (aim: all)")
    return all((ended >= ENDED, seconds <= ENDING_SECONDS, refused == REAL, beside(calm, meanwhile)))


async def _elsewhere(service: Service, people: Sequence[Person]) -> list[Person]:
    """The same people, signed in from other addresses once more."""
    connection = await Connection(service.urls[0]).open()
    again = [Person(person.username, person.password) for person in people]
    for number, person in enumerate(again):
        await login(connection, person, ELSEWHERE + number)
    connection.close()
    return again


async def _calm(service: Service, hot: Sequence[Person]) -> Taken:
    async with looking(service.urls, hot) as calm:
        await asyncio.sleep(CALM_SECONDS)
    return calm


def beside(calm: Taken, meanwhile: Taken) -> bool:
    times = meanwhile.most / calm.most
    say(
        f"  /me of {HOT} people, 400 a second: 50th and 99th of 100 in {calm.half:.1f} and {calm.most:.1f} ms alone, "
        f"{meanwhile.half:.1f} and {meanwhile.most:.1f} meanwhile, {times:.1f} times (at most {TIMES_CALM:.0f})"
    )
    return times <= TIMES_CALM


async def cleanup(service: Service) -> bool:
    """Whether two at once share it, one that is killed is gone on with, and nobody waits."""
    hot = await sign_in(service.urls[0], HOT)
    connection = await asyncpg.connect(service.database_url)
    at = await connection.fetchval("SELECT now()")
    due = await _over(connection, at)
    calm = await _calm(service, hot)
    async with looking(service.urls, hot) as meanwhile:
        started = time.perf_counter()
        both = [await _start(service) for _ in range(2)]
        left = await _until(connection, at, due // 2)
        for process in both:
            process.send_signal(signal.SIGKILL)
        await asyncio.gather(*(process.wait() for process in both))
        half = time.perf_counter() - started
        started = time.perf_counter()
        both = [await _start(service) for _ in range(2)]
        said = [(await process.communicate())[0] for process in both]
        rest = time.perf_counter() - started
    if any(process.returncode for process in both):
        refuse("a clean-up fails")
    reports = [json.loads(each) for each in said]
    still = await _over(connection, at)
    await connection.close()
    shares = [report["deleted"]["sessions"] for report in reports]
    say(f"{due:,} expired sessions: two at once deleted {due - left:,} in {half:.0f} s and were killed (SIGKILL);")
    say(f"  two more did the rest, {' and '.join(f'{share:,}' for share in shares)}, in {rest:.0f} s; left: {still}")
    return not still and beside(calm, meanwhile)


async def _start(service: Service) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        BIN / "gatehouse",
        "cleanup",
        "--json",
        env=service.environment,
        cwd=service.directory,
        stdout=asyncio.subprocess.PIPE,
    )


async def _until(connection: "asyncpg.Connection[asyncpg.Record]", at: datetime, number: int) -> int:
    """Wait until no more than so many are left; how many are."""
    while True:
        left = await _over(connection, at)
        if left <= number:
            return left
        await asyncio.sleep(LOOK_SECONDS)


async def _over(connection: "asyncpg.Connection[asyncpg.Record]", at: datetime) -> int:
    """Sessions that have been kept long enough at this time."""
    number: int = await connection.fetchval(OVER, at, timeout=60)
    return number
