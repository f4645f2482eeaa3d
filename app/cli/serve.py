"""`gatehouse serve`: the service alone, as a container runs it."""

import argparse
import asyncio
from importlib.metadata import version

import structlog

from app import logs
from app.cli import database, runtime
from app.cli.server import Server, free_address
from app.errors import Unavailable
from app.settings import Settings, load
from db import incarnation, revisions

log = structlog.get_logger(__name__)

TARGET = "app.main:create"  # reads the settings for itself, in each worker
STOP_SECONDS = 10  # for the requests under way when the drain is over; a sign-in takes less than one


def run(arguments: argparse.Namespace) -> int:
    settings = load()
    logs.configure(settings)
    address = free_address(arguments.host, arguments.port)
    with runtime.directory(arguments.workers) as shared:
        asyncio.run(_prepare(settings, arguments.workers))
        log.info("server.starting", version=version("gatehouse"), address=address, port=arguments.port)
        Server(
            TARGET,
            address,
            arguments.port,
            arguments.workers,
            draining=shared / "draining",
            drain_seconds=settings.drain_seconds,
            stop_seconds=STOP_SECONDS,
        ).run()
    log.info("server.stopped")
    return 0


async def _prepare(settings: Settings, workers: int) -> None:
    """Look at PostgreSQL; that it is away is no reason not to start, for it may come back."""
    try:
        async with database.connection(settings) as db:
            budget = await database.budget(db, settings, workers, running=False)
            missing = revisions.missing(await revisions.applied(db))
            lossless = settings.lossless_failover
            told_by = [] if missing else await incarnation.copied(db, lossless_failover=lossless)
        if not budget.suffices and not settings.pooled:
            hint = "raise max_connections, or lower DATABASE_POOL_SIZE or --workers"
            log.warning(
                "database.connections_short", own=budget.own, others=budget.others, limit=budget.limit, hint=hint
            )
        if missing:
            log.warning("database.schema_behind", hint="run `gatehouse migrate`; until then /health/ready says 503")
        elif told_by:
            log.error("database.unfit", told_by=told_by, hint=incarnation.hint(told_by))
        elif settings.admin_password:
            await _make_first_admin(settings)
    except Unavailable as error:
        log.warning("database.away", reason=str(error.__cause__ or error))


async def _make_first_admin(settings: Settings) -> None:
    from app.cli import first_admin  # noqa: PLC0415 (prometheus_client has to be imported after `runtime`)

    if await first_admin.make(settings, settings.admin_password):
        log.info("first_admin.made", username=settings.admin_username)
