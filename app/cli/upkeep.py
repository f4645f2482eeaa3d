"""`gatehouse keys rotate` and `gatehouse cleanup`."""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta

from app.cli.refusal import NothingToRotate
from app.cli.terminal import answer
from app.database import Database
from app.keys import ring
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


async def _rotate(settings: Settings) -> str:
    db = Database(settings.database_url, size=1)
    await db.start()
    try:
        return await ring.rotate(db, settings.jwt_algorithm, ring.box_of(settings))
    finally:
        await db.stop()
