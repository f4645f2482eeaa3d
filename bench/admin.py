"""`make bench-admin`: what administration costs on a million users, three million sessions, five million events.

`python -m bench.admin PART …` runs these parts alone: `lists`, `pages` (of the console), `plans`, `ending`, `cleanup`.
PostgreSQL, Valkey, two replicas of one worker and the clients share two cores. To fill the stores takes some five
minutes: `--data DIR` keeps them there for the next run.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from random import Random

import asyncpg

from bench import admin_cases, admin_many, admin_pages, admin_plans, admin_stores
from bench.admin_cases import Case
from bench.admin_stores import Service, Size, serving
from bench.load import Connection
from bench.looking import Taken, ask, ask_each
from bench.stack import leave_by_all_doors, refuse, say

CORES = 2
CLIENTS = 8
REQUESTS = 96  # a case, by itself
TURNS = 8  # of each case, where they are mixed
WARM_UP = 8  # requests before them, one of each client
MOST_MS = 100.0  # within which 99 of 100 answers come
SLOWEST = 12  # cases that are shown
PARTS = ("lists", "pages", "plans", "ending", "cleanup")


async def lists(service: Service, requests: int, only: Sequence[str]) -> bool:
    token = (await service.administrator()).access_token
    connection = await asyncpg.connect(service.database_url)
    cases = await admin_cases.everything(connection, service.cursors, only)
    await connection.close()
    clients = [await Connection(service.urls[number % len(service.urls)]).open() for number in range(CLIENTS)]
    for url in service.urls:  # the first look waits for the census
        await (await Connection(url).open()).get("/sessions", token)
    await admin_stores.counted(service)
    taken: dict[Case, Taken] = {}
    for case in cases:
        await ask(clients, token, case.path, WARM_UP)
        taken[case] = await ask(clients, token, case.path, requests)
    shown(taken)
    good = [await mixed(name, some, clients, token) for name, some in by_list(taken).items()]
    for client in clients:
        client.close()
    return all(good)


async def mixed(name: str, cases: Sequence[Case], clients: Sequence[Connection], token: str) -> bool:
    """All cases of a list in some order, each client another one, as administrators ask; whether they reach the aim."""
    turns = [case for case in cases for _ in range(TURNS)]
    Random(name).shuffle(turns)  # noqa: S311 - the same order each time
    found = await ask_each(clients, token, [case.path for case in turns])
    say(f"{name}, all {len(cases)} mixed: half within {found.half:.0f} ms, 99 of 100 within {found.most:.0f}")
    return found.most <= MOST_MS


def by_list(cases: Iterable[Case]) -> Mapping[str, list[Case]]:
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        found[case.list].append(case)
    return found


def shown(taken: Mapping[Case, Taken]) -> None:
    """Print what each list takes if eight ask the same at once, and the slowest cases of all."""
    say(f"| list | cases | 50th of 100, ms: half of them, the worst | 99th: half, the worst | over {MOST_MS:.0f} ms |")
    say("| --- | --- | --- | --- | --- |")
    for name, cases in by_list(taken).items():
        halves = sorted(taken[case].half for case in cases)
        mosts = sorted(taken[case].most for case in cases)
        over = sum(most > MOST_MS for most in mosts)
        say(
            f"| {name} | {len(cases)} | {halves[len(halves) // 2]:.0f}, {halves[-1]:.0f} "
            f"| {mosts[len(mosts) // 2]:.0f}, {mosts[-1]:.0f} | {over} |"
        )
    say("\n| the slowest | 50th, ms | 99th, ms |")
    say("| --- | --- | --- |")
    slowest = sorted(taken, key=lambda case: taken[case].most, reverse=True)
    late = sum(taken[case].most > MOST_MS for case in taken)
    for case in slowest[:SLOWEST]:
        say(f"| {case.list}: {case.words} | {taken[case].half:.0f} | {taken[case].most:.0f} |")
    say(f"\n{late} of {len(taken)} cases are later than {MOST_MS:.0f} ms where eight ask the same at once\n")


def main() -> int:
    parser = argparse.ArgumentParser("python -m bench.admin", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=3_000_000)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--many", type=int, default=1_000_000, help="sessions that the clean-up has to delete")
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"of each case of a list (default {REQUESTS})")
    parser.add_argument("--list", action="append", default=[], help="of `lists`, these alone")
    parser.add_argument("--data", type=Path, help="where the full stores are kept (default: nowhere)")
    arguments = parser.parse_args()
    parts = arguments.parts or PARTS
    if not set(parts) <= set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}")
    leave_by_all_doors()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < CORES:
        refuse("two cores are needed")
    os.sched_setaffinity(0, cores[:CORES])
    size = Size(arguments.users, arguments.sessions, arguments.events)
    if arguments.data is not None:
        arguments.data.mkdir(parents=True, exist_ok=True)
    kept = nullcontext(arguments.data) if arguments.data is not None else tempfile.TemporaryDirectory()
    good = []
    with kept as folder:
        for part in parts:
            settings = admin_plans.LOGGED if part == "plans" else ()
            expired = arguments.many if part == "cleanup" else 0
            with serving(Path(folder), size, settings, expired) as service:
                if part == "lists":
                    good.append(asyncio.run(lists(service, arguments.requests, arguments.list)))
                elif part == "pages":
                    good.append(asyncio.run(admin_pages.pages(service)))
                elif part == "plans":
                    good.append(asyncio.run(admin_plans.plans(service, arguments.list)))
                elif part == "ending":
                    good.append(asyncio.run(admin_many.ending(service)))
                else:
                    good.append(asyncio.run(admin_many.cleanup(service)))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
