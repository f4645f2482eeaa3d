"""`make bench-import`: 100,000 users by the command line, and 20,000 by the API beside other requests.

Half of the hashes are bcrypt of costs 10 to 12, half argon2id; each is one of a few real ones, and some of the
users sign in. The kernel says how much memory the command held at most.
"""

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import bcrypt
import httpx
import psutil
from argon2 import PasswordHasher

from bench import load
from bench.stack import BIN, Stack, refuse, running, say

USERS, BY_API = 100_000, 20_000
SECONDS_AIM, MIB_AIM = 60.0, 200.0
SAMPLE = 100  # users of each format who sign in
PASSWORD = "plum-Tractor-84-lantern"  # noqa: S105 - of people who are made up
COSTS = (10, 11, 12)
PAUSE = 0.005  # seconds between two looks at /me
CALM = 400  # looks before the import


def hashes() -> list[str]:
    """Of the password: bcrypt and argon2id in turn."""
    made = [bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode() for cost in COSTS]
    hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
    return [each for cost in range(len(COSTS)) for each in (made[cost], hasher.hash(PASSWORD))]


def lines(prefix: str, number: int) -> Iterator[bytes]:
    stored = hashes()
    for each in range(number):
        name = f"{prefix}-{each}"
        line = {
            "username": name,
            "email": f"{name}@example.org",
            "full_name": f"Ada Lovelace {each}",
            "password_hash": stored[each % len(stored)],
            "is_active": True,
            "roles": [],
        }
        yield json.dumps(line).encode() + b"\n"


def measured(environment: Mapping[str, str], *words: str) -> tuple[float, float]:
    """Seconds and MiB of a command that has to succeed."""
    started = time.perf_counter()
    process = subprocess.Popen([BIN / "gatehouse", *words], env=environment, stdout=subprocess.DEVNULL)  # noqa: S603
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        refuse(f"{' '.join(words)} ends with {process.returncode}")
    return time.perf_counter() - started, used.ru_maxrss / 1024


def by_command(stack: Stack, folder: Path) -> bool:
    file, export = folder / "users", folder / "exported"
    file.write_bytes(b"".join(lines("user", USERS)))
    first = measured(stack.environment, "users", "import", str(file))
    again = measured(stack.environment, "users", "import", str(file))
    out = measured(stack.environment, "users", "export", "--with-hashes", str(export))
    say(f"{USERS:,} users, {file.stat().st_size / 1024**2:.0f} MiB, by the command line:")
    for what, (seconds, mib) in (("imported", first), ("imported again", again), ("exported", out)):
        say(f"  {what:<15} {seconds:5.1f} s, at most {mib:.0f} MiB (aims: {SECONDS_AIM:.0f} s, {MIB_AIM:.0f} MiB)")
    return all(seconds <= SECONDS_AIM and mib <= MIB_AIM for seconds, mib in (first, again, out))


async def sign_in_some(stack: Stack) -> None:
    connection = await load.Connection(stack.url).open()
    step = USERS // (2 * SAMPLE) // 2 * 2  # even, so that both formats have their turn
    for each in range(SAMPLE):
        for number in (each * step, each * step + 1):
            await load.login(connection, load.Person(f"user-{number}", PASSWORD))
    connection.close()
    say(f"{SAMPLE} of each format have signed in")


async def by_api(stack: Stack) -> bool:
    password = secrets.token_urlsafe(24)
    command = [str(BIN / "gatehouse"), "users", "create-admin", "--username", "root", "--password-stdin"]
    subprocess.run(  # noqa: ASYNC221, S603 - nothing else runs
        command, env=stack.environment, input=password.encode(), check=True, stdout=subprocess.DEVNULL
    )
    root = load.Person("root", password)
    connection = await load.Connection(stack.url).open()
    await load.login(connection, root)
    connection.close()
    body = b"".join(lines("api", BY_API))
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {root.access_token}"}, timeout=600) as client:
        calm = [await look(client, stack) for _ in range(CALM)]
        started = time.perf_counter()
        headers = {"Content-Type": "application/x-ndjson"}
        sending = asyncio.create_task(client.post(f"{stack.url}/users/import", content=body, headers=headers))
        beside = []
        while not sending.done():
            beside.append(await look(client, stack))
        seconds = time.perf_counter() - started
        report = (await sending).text.splitlines()
    created = sum('"created"' in line for line in report)
    family = [psutil.Process(stack.server_pid), *psutil.Process(stack.server_pid).children(recursive=True)]
    mib = max(peak(process.pid) for process in family)
    say(f"{created:,} users by the API in {seconds:.1f} s; the worker held at most {mib:.0f} MiB")
    say(f"  /me, 50th and 99th of 100, ms: alone {shown(calm)}, meanwhile {shown(beside)}")
    return created == BY_API and mib <= MIB_AIM


async def look(client: httpx.AsyncClient, stack: Stack) -> float:
    """Milliseconds."""
    await asyncio.sleep(PAUSE)
    started = time.perf_counter()
    (await client.get(f"{stack.url}/me")).raise_for_status()
    return (time.perf_counter() - started) * 1000


def shown(taken: list[float]) -> str:
    cuts = statistics.quantiles(taken, n=100)
    return f"{cuts[49]:.1f} and {cuts[98]:.1f}"


def peak(pid: int) -> float:
    """MiB that a process held at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> int:
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, running(core) as stack:
        good = by_command(stack, Path(folder))
        asyncio.run(sign_in_some(stack))
        return 0 if asyncio.run(by_api(stack)) and good else 1


if __name__ == "__main__":
    sys.exit(main())
