"""What can be said about this process and its stores."""

import asyncio
import os
import time
from importlib.metadata import version
from pathlib import Path

import asyncpg
from valkey.exceptions import ResponseError

from app.background import end
from app.cache.entries import Entries
from app.cache.link import ValkeyAway
from app.database import Database
from app.errors import Unavailable
from app.gpustack.instance import Instance, State
from app.health.structs import Check, Status
from app.metrics import Metrics
from app.settings import Settings
from db import revisions

RELEASE = version("gatehouse")
LOOK_SECONDS = 5.0  # between two looks for the gauge, where nobody else asks
OF_GPUSTACK = {State.OK: Status.OK, State.AWAY: Status.DOWN, State.MISCONFIGURED: Status.MISCONFIGURED}


class Health:
    """Probes. `ready` looks at PostgreSQL each time; a lost Valkey is `degraded`, for PostgreSQL can stand in.

    So is GPUStack that is away, or not to be believed: it is asked for the passwords of its own users alone.
    """

    def __init__(
        self, db: Database, entries: Entries, settings: Settings, gpustack: Instance | None, metrics: Metrics
    ) -> None:
        self._db = db
        self._entries = entries
        self._settings = settings
        self._gpustack = gpustack
        self._started_at = time.monotonic()
        self._was_ready = False
        self._schema_fits = False  # when it was last seen
        self._last_ready = False
        self._looking: asyncio.Task[None] | None = None
        runtime = os.environ.get("GATEHOUSE_RUNTIME_DIR")
        self._drain_marker = Path(runtime) / "draining" if runtime else None
        metrics.gauge("auth_ready", "1: ready, as /health/ready has it.", lambda: self.is_ready, "livemin")

    def start(self) -> None:
        self._looking = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        await end(self._looking)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.ready()

    @property
    def uptime_seconds(self) -> int:
        return int(time.monotonic() - self._started_at)

    @property
    def draining(self) -> bool:
        """Whether the parent process has been asked to stop: requests go on, but no new ones should be sent here."""
        return self._drain_marker is not None and self._drain_marker.exists()

    @property
    def valkey_trusted(self) -> bool:
        """Whether Valkey is in use; where it is not, PostgreSQL answers for it."""
        return self._entries.links.current is not None

    @property
    def is_ready(self) -> bool:
        """What `ready` said last, unless the drain has begun or a restored copy was found since."""
        return self._last_ready and not self.draining and not self._entries.outbox.unfit

    async def ready(self, *, degraded_ok: bool = False) -> bool:
        """Whether requests can be served; with `degraded_ok` also if only cached sessions can be told."""
        if self.draining or self._entries.outbox.unfit:
            return False
        _, migrations = await self._schema()
        self._last_ready = migrations.status is Status.OK
        if migrations.status is Status.UNKNOWN:
            return degraded_ok and self._schema_fits and await self._valkey_alone()
        self._schema_fits = migrations.status is Status.OK
        self._was_ready |= self._schema_fits
        return self._schema_fits

    async def started(self) -> bool:
        return self._was_ready or await self.ready()

    async def checks(self) -> tuple[Status, dict[str, Check]]:
        """The whole and its parts."""
        database, migrations = await self._schema()
        others = {"valkey": await self._valkey(), **self._upstream()}
        if database.status is not Status.OK or migrations.status is not Status.OK:
            whole = Status.DOWN
        else:
            whole = Status.OK if all(each.status is Status.OK for each in others.values()) else Status.DEGRADED
        return whole, {"database": database, "migrations": migrations, **others}

    def _upstream(self) -> dict[str, Check]:
        """As the last look at it found, where there is one."""
        if self._gpustack is None:
            return {}
        state = self._gpustack.state
        return {"gpustack": Check(Status.UNKNOWN if state is None else OF_GPUSTACK[state], self._gpustack.latency_ms)}

    async def _schema(self) -> tuple[Check, Check]:
        """PostgreSQL, and whether its schema is one that this release works on."""
        started = time.perf_counter()
        try:
            async with self._db.connection() as connection:
                applied = await revisions.applied(connection)
        except (Unavailable, asyncpg.PostgresError):  # away, or it does not let us look
            return Check(Status.DOWN, None), Check(Status.UNKNOWN, None)
        database = Check(Status.OK, _ms_since(started))
        fits = not revisions.missing(applied) and revisions.needed(applied, RELEASE) is None
        return database, Check(Status.OK if fits else Status.DOWN, None)

    async def _valkey(self) -> Check:
        started = time.perf_counter()
        try:
            async with self._entries.links.use() as link:
                await link.ping()
        except (ValkeyAway, ResponseError):
            return Check(Status.DOWN, None)
        return Check(Status.OK, _ms_since(started))

    async def _valkey_alone(self) -> bool:
        return not self._settings.strict_revocation and (await self._valkey()).status is Status.OK


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 2)
