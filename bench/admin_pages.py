"""What a page of the console takes, where there are a million users: asked by one browser, as people ask."""

import asyncio
import json
import time
from datetime import UTC, datetime

import asyncpg

from bench.admin_stores import Service
from bench.load import Connection
from bench.looking import OK, Taken
from bench.stack import BASE, refuse, say

COUNTING_SECONDS = 900.0  # five million events that were written at once
TIMES = 20  # that each page is asked for
MOST_MS = 50.0  # of a page, in nine of ten: it is made while somebody waits who has clicked

ACCOUNT = (
    "",
    "/email",
    "/password",
    "/factors",
    "/identities",
    "/devices",
    "/activity",
    "/preferences",
    "/data",
)
ADMINISTRATION = (
    "?span=24h",
    "?span=7d",
    "?span=30d",
    "?span=12m",
    "/users",
    "/users?sort=username",
    "/users?search=an",
    "/users?search=anna",
    "/users/{id}",
    "/sessions",
    "/sessions?ip=198.18.0.0%2F16",
    "/sessions/end?ip=198.18.7.0%2F24",
    "/roles",
    "/roles/admin",
    "/audit",
    "/audit?event=login.failed",
    "/keys",
    "/settings",
)


async def pages(service: Service) -> bool:
    """Print what each page takes after the first of its kind, and the first; whether all reach the aim."""
    token = (await service.administrator()).access_token
    database = await asyncpg.connect(service.database_url)
    somebody: int = await database.fetchval("SELECT user_id FROM sessions GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
    await database.close()
    await _count_all(await Connection(service.urls[0]).open(), token)
    browser = await Connection(service.urls[0].removesuffix(BASE)).open()
    await _page(browser, "/console/account", token)  # the first of all has the console made
    paths = [f"/console/account{path}" for path in ACCOUNT]
    paths += [f"/console/admin{path.format(id=somebody)}" for path in ADMINISTRATION]
    say("| page | first, ms | 50th of 100 | 90th | kB |")
    say("| --- | --- | --- | --- | --- |")
    late = 0
    for path in paths:
        first, _ = await _page(browser, path, token)
        answers = [await _page(browser, path, token) for _ in range(TIMES)]
        taken, size = Taken([each for each, _ in answers]), answers[-1][1] / 1000
        late += taken.of(0.9) > MOST_MS
        say(f"| `{path}` | {first:.0f} | {taken.half:.0f} | {taken.of(0.9):.0f} | {size:.0f} |")
    browser.close()
    say(f"\n{late} of {len(paths)} pages are later than {MOST_MS:.0f} ms (aim: none)")
    return not late


async def _count_all(client: Connection, token: str) -> None:
    """Returns when all events are counted, as they are where they have come one by one."""
    began = datetime.now(UTC)
    async with asyncio.timeout(COUNTING_SECONDS):
        while True:
            status, body = await client.get("/analytics", token)
            if status != OK:
                refuse(f"/analytics answers {status}: {body.decode()[:300]}")
            as_of = json.loads(body)["as_of"]
            if as_of is not None and datetime.fromisoformat(as_of) > began:
                return


async def _page(browser: Connection, path: str, token: str) -> tuple[float, int]:
    """Milliseconds, and bytes as they are sent."""
    cookie = f"__Host-gatehouse-console={token}"
    started = time.perf_counter()
    status, body = await browser.page(path, cookie)
    taken = 1000 * (time.perf_counter() - started)
    if status != OK:
        refuse(f"{path} answers {status}: {body.decode()[:300]}")
    return taken, len(body)
