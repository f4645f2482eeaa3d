"""`gatehouse users create-admin`, `set-password` and `sync`: the way in and back in, and who is brought over."""

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
    password = passwords.chosen(arguments)
    user_id = asyncio.run(_create_admin(settings, arguments, password))
    passwords.tell(arguments, user_id, arguments.username, password)
    return 0


def set_password(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    password = passwords.chosen(arguments)
    user_id = asyncio.run(_set_password(settings, arguments.name, password))
    passwords.tell(arguments, user_id, arguments.name, password)
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
