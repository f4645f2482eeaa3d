"""Two replicas of `gatehouse serve`, stores of their own, and a proxy between each replica and each store."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import asyncpg
import psutil
from valkey.asyncio import Valkey as ValkeyClient

from app.cli import children, files, first_admin
from app.cli.embedded import DATABASE, Postgres, Valkey
from app.cli.refusal import NotRunning
from app.settings import Settings
from db import schema
from tests.faults.proxy import Mode, Proxy
from tests.faults.wire import NoAnswer, ask
from tests.kit import new_password
from tests.replica import settings_for
from tests.servers import COMMAND, environment, free_port

START_SECONDS = 60.0
STOP_SECONDS = 30.0
HEALTHY = 12  # answers in a row, each by a connection of its own: both workers of a replica are among them
CONNECTIONS = 100  # of PostgreSQL; four workers may take 11 each, and as many more where dead ones linger

# Nothing that a clock decides is under test here: grace and tokens outlive every run.
UNHURRIED = {
    "RATE_LIMIT_LOGIN": "off",
    "RATE_LIMIT_ACCOUNT": "off",
    "RATE_LIMIT_REGISTER": "off",
    "REFRESH_GRACE_SECONDS": "300",
    "ACCESS_TOKEN_EXPIRE_MINUTES": "1440",
    "DATABASE_POOL_SIZE": "8",
    "LOG_LEVEL": "info",
}


class Replica:
    """A server with its workers, and its own ways to the stores."""

    def __init__(self, number: int, cluster: "Cluster") -> None:
        self.number = number
        self.port = free_port()
        self.store = cluster.valkeys[0]  # which of the two it reads
        self.postgres = Proxy(lambda: ("127.0.0.1", cluster.postgres.port))
        self.valkey = Proxy(lambda: ("127.0.0.1", self.store.port))
        self._log = cluster.directory / f"replica-{number}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environ: Mapping[str, str], workers: int) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [COMMAND, "serve", "--host", "127.0.0.1", "--port", str(self.port), "--workers", str(workers)],
                env=dict(environ),
                cwd=self._log.parent,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def processes(self) -> list[psutil.Process]:
        """The parent, then its workers."""
        if self._process is None or self._process.poll() is not None:
            return []
        parent = psutil.Process(self._process.pid)
        try:
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[int]:
        """Pids of who serves: the children that lead a session of their own."""
        return [each.pid for each in self.processes()[1:] if _leads(each.pid)]

    def signal(self, number: signal.Signals) -> None:
        """To every process of this replica; workers lead groups of their own, so the group of the parent is not all."""
        for each in self.processes():
            try:
                each.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    async def stop(self) -> None:
        self.signal(signal.SIGCONT)
        process = self._process
        if process is None:
            return
        left = self.processes()
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        for each in left[1:]:
            if each.is_running():
                each.kill()

    def errors(self) -> list[str]:
        """What it has noted of itself; that workers were killed is no news."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if '"level":"error"' in line and "Unexpected exit" not in line]


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


class Cluster:
    """Everything that a run needs; it ends what it has started, by pid."""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 2,
        strict: bool = False,
        idle: bool = False,
        source: Path | None = None,
    ) -> None:
        self.directory = directory
        self.workers = workers
        self.database = DATABASE
        self.admin_password = new_password()
        self.postgres = Postgres(
            directory / "postgres", settings=["fsync=off", f"max_connections={CONNECTIONS}", "shared_buffers=32MB"]
        )
        self.valkeys = [Valkey(directory / f"valkey-{name}") for name in "ab"]
        self.replicas = [Replica(number, self) for number in range(2)]
        self.replication = Proxy(lambda: ("127.0.0.1", self.primary.port))
        self.primary = self.valkeys[0]
        self._strict = strict
        self._source = source
        self._idle = idle  # stores and proxies alone; who wants replicas calls `start_replicas`
        self._stack = AsyncExitStack()

    @property
    def spare(self) -> Valkey:
        return next(each for each in self.valkeys if each is not self.primary)

    @property
    def admin_url(self) -> str:
        """PostgreSQL, not through a proxy."""
        return self.postgres.url(self.database)

    async def __aenter__(self) -> Self:
        try:
            self._start_stores()
            for replica in self.replicas:
                await self._stack.enter_async_context(replica.postgres)
                await self._stack.enter_async_context(replica.valkey)
            await self._stack.enter_async_context(self.replication)
            await self._migrate()
            if not self._idle:
                await self.start_replicas(self._source)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    def _start_stores(self) -> None:
        files.private_directory(self.directory, children.account())
        secret = ""
        for valkey in self.valkeys:  # one password, so that a replica may be sent to either
            files.private_directory(valkey.directory, children.account())
            if secret:
                files.replace(valkey.directory / "password", secret, children.account())
            valkey.start()
            secret = valkey.password
        self.postgres.start()

    async def _migrate(self) -> None:
        await schema.upgrade(self.admin_url)
        await first_admin.make(replace(self._settings(self.replicas[0]), admin_username="root"), self.admin_password)

    async def start_replicas(self, source: Path | None = None) -> None:
        """Start both; `source` is where `app` is, if it is not the one under test."""
        for replica in self.replicas:
            replica.postgres.set(Mode.PASS)
            replica.valkey.set(Mode.PASS)
            environ = self._environment(replica)
            if source is not None:
                environ["PYTHONPATH"] = str(source)
            replica.start(environ, self.workers)
        await asyncio.gather(*(self.healthy(replica) for replica in self.replicas))

    async def begin_anew(self, name: str) -> None:
        """Another database, with the administrator and nothing else, and an empty Valkey; for the next replicas."""
        self.postgres.create_database(name, template=DATABASE)
        self.postgres.sql("SELECT incarnation_begin()", name)
        self.database = name
        async with self.client(self.primary) as client:
            await client.flushall()

    def _settings(self, replica: Replica) -> Settings:
        postgres = self.admin_url.replace(f":{self.postgres.port}/", f":{replica.postgres.port}/")
        valkey = self.primary.url.replace(f":{self.primary.port}/", f":{replica.valkey.port}/")
        return settings_for(postgres, valkey)

    def _environment(self, replica: Replica) -> dict[str, str]:
        environ = environment(self._settings(replica)) | UNHURRIED
        environ["STRICT_REVOCATION"] = "on" if self._strict else "off"
        return environ

    async def healthy(self, replica: Replica) -> None:
        """Return once a replica says that all is well, so often that every worker of it has."""
        row = 0
        async with asyncio.timeout(START_SECONDS):
            while row < HEALTHY:
                try:
                    answer = await ask(replica.port, "GET", "/health", timeout_seconds=2)
                    row = row + 1 if answer.body.get("status") == "ok" else 0
                except NoAnswer:
                    row = 0
                if not row:
                    await asyncio.sleep(0.05)

    async def recovered(self) -> None:
        """Return once every replica is well and nothing waits to be carried over: one fault is over, the next may come.

        What the decision page lists as left needs two faults at once; this keeps them apart.
        """
        await asyncio.gather(*(self.healthy(replica) for replica in self.replicas))
        async with asyncio.timeout(START_SECONDS):
            while await self.sql("SELECT count(*) FROM cache_outbox WHERE created_at < now() - interval '3 seconds'"):
                await asyncio.sleep(0.1)

    async def sql(self, statement: str) -> Any:
        """The value that it gives; where another fault has taken PostgreSQL away, once that is over."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                with suppress(OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError):
                    async with self.connection() as connection:
                        return await connection.fetchval(statement)
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def connection(self) -> "AsyncGenerator[asyncpg.Connection[asyncpg.Record]]":
        """A way into PostgreSQL that no proxy stands in."""
        connection = await asyncpg.connect(self.admin_url, timeout=10)
        try:
            yield connection
        finally:
            await connection.close()

    async def let_epoch_age(self) -> None:
        """As if the last fail-over were long ago: within 10 s of it no other server would be trusted."""
        await self.sql("UPDATE cache_epoch SET granted_at = granted_at - interval '1 hour'")

    async def stop_replicas(self) -> None:
        """From here on nobody changes anything: no process of the service is left, and no backend of PostgreSQL."""
        await asyncio.gather(*(replica.stop() for replica in self.replicas))
        for replica in self.replicas:
            replica.postgres.set(Mode.CUT)
        async with asyncio.timeout(START_SECONDS):
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'gatehouse%'"
            while await self.sql(query):
                await asyncio.sleep(0.05)

    async def replicate(self) -> None:
        """Have the spare Valkey copy the primary, and follow it through `replication`; back when it is up to date."""
        self.replication.set(Mode.PASS)
        async with self.client(self.primary) as client:
            await client.config_set("repl-diskless-sync-delay", 0)  # seconds; 5 as a rule, for others to join in
        async with self.client(self.spare) as client:
            await client.config_set("masterauth", self.primary.password)
            await client.replicaof("127.0.0.1", self.replication.port)
            async with asyncio.timeout(START_SECONDS):
                while (await client.info("replication"))["master_link_status"] != "up":
                    await asyncio.sleep(0.02)

    async def promote(self) -> None:
        """Make the spare the primary. The old one lives on, and replicas stay with it until they are sent."""
        async with self.client(self.spare) as client:
            await client.replicaof("NO", "ONE")
        self.replication.set(Mode.CUT)
        self.primary = self.spare

    def send(self, replica: Replica) -> None:
        """Have a replica talk to the present primary."""
        if replica.store is not self.primary:
            replica.store = self.primary
            replica.valkey.reset()

    def client(self, valkey: Valkey) -> ValkeyClient:
        """A way into a Valkey that no proxy stands in."""
        client: ValkeyClient = ValkeyClient.from_url(valkey.url, socket_timeout=5)
        return client

    async def _end(self) -> None:
        for replica in self.replicas:
            await replica.stop()
        for valkey in self.valkeys:
            with suppress(ProcessLookupError, NotRunning):  # a run that broke off has left it killed
                os.kill(valkey.pid, signal.SIGCONT)
            valkey.stop()
        self.postgres.stop()
        await self._stack.aclose()
