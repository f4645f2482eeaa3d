"""`gatehouse keys rotate` and `gatehouse cleanup`."""

import argparse
import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from app.cli.refusal import NothingToRotate
from app.cli.terminal import answer
from app.database import Database
from app.keys import ring
from app.maintenance import rotation
from app.maintenance.service import CleanupReport, clean_up
from app.settings import Settings, load


def rotate(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    if settings.jwt_algorithm == "HS256":
        raise NothingToRotate
    kid = asyncio.run(_rotate(settings))
    signs_from = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=ring.PUBLISH_SECONDS)
    data = {"kid": kid, "algorithm": settings.jwt_algorithm, "signs_from": signs_from.strftime("%Y-%m-%dT%H:%M:%SZ")}
    answer(
        arguments,
        data,
        f"published the {settings.jwt_algorithm} key {kid}",
        f"it signs from {data['signs_from']}; the one before verifies until its last token has expired",
    )
    return 0


def cleanup(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    report = asyncio.run(_clean_up(settings))
    data = msgspec.to_builtins(report)
    lines = [f"{name.replace('_', ' '):<18} {count}" for name, count in data["deleted"].items()]
    answer(arguments, data, "deleted:", *lines, f"in {report.duration_ms} ms")
    return 0


async def _rotate(settings: Settings) -> str:
    async with _database(settings) as db:
        return await rotation.rotate(db, settings, client=None, actor_id=None, session_id=None)


async def _clean_up(settings: Settings) -> CleanupReport:
    async with _database(settings) as db:
        return await clean_up(db, settings, client=None, actor_id=None)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[Database]:
    db = Database.of(settings, size=1)
    await db.start()
    try:
        yield db
    finally:
        await db.stop()
