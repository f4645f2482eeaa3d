"""`gatehouse users …`: accounts without the API, by whoever may run commands on the server."""

import argparse
import asyncio

import msgspec

from app.cli import passwords
from app.cli.first_admin import means
from app.cli.parts import at_work
from app.cli.refusal import NoGpustack
from app.cli.terminal import answer
from app.identity import accounts
from app.identity.shadows import Origin
from app.identity.upstream_sync import SyncReport
from app.settings import Settings, load


def create_admin(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    password = passwords.from_stdin() if arguments.password_stdin else passwords.generated()
    user_id = asyncio.run(_create_admin(settings, arguments, password))
    _tell(arguments, user_id, arguments.username, password)
    return 0


def set_password(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    password = passwords.from_stdin() if arguments.password_stdin else passwords.generated()
    user_id = asyncio.run(_set_password(settings, arguments.name, password))
    _tell(arguments, user_id, arguments.name, password)
    return 0


def sync(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    report = asyncio.run(_sync(settings))
    data = msgspec.to_builtins(report)
    lines = [f"{name:<12} {count}" for name, count in data.items() if name != "duration_ms"]
    answer(arguments, data, *lines, f"in {report.duration_ms} ms")
    return 0


async def _create_admin(settings: Settings, arguments: argparse.Namespace, password: str) -> int:
    async with means(settings) as (db, hasher):
        return await accounts.create_admin(db, hasher, arguments.username, password, arguments.email)


async def _set_password(settings: Settings, username: str, password: str) -> int:
    async with at_work(settings) as parts:
        return await accounts.set_password(
            parts.db, parts.entries, parts.sessions, parts.passwords, parts.mails, username, password
        )


async def _sync(settings: Settings) -> SyncReport:
    async with at_work(settings) as parts:
        if parts.gpustack is None:
            raise NoGpustack
        await parts.gpustack.instance.look()
        return await parts.gpustack.sync.sync(Origin())


def _tell(arguments: argparse.Namespace, user_id: int, username: str, password: str) -> None:
    """A password that came on standard input is known; one that we made is shown this once."""
    data: dict[str, object] = {"id": user_id, "username": username}
    lines = [f"id        {user_id}", f"username  {username}"]
    if not arguments.password_stdin:
        data["password"] = password
        lines.append(f"password  {password}   (shown only now)")
    answer(arguments, data, *lines)
