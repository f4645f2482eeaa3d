"""Real servers: `gatehouse serve` in processes of their own."""

import asyncio
import os
import socket
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import msgspec
from httpx import AsyncClient, HTTPError

from app.settings import Settings
from tests.kit import BASE

COMMAND = Path(sys.executable).parent / "gatehouse"
START_SECONDS = 30.0
LIMITS = tuple(field.name for field in fields(Settings) if field.name.startswith("rate_limit_"))


def without_limits(settings: Settings) -> Settings:
    """How often anything may be done is not asked; `MFA_CODES_PER_LOGIN`, which counts for one login, stays."""
    off: dict[str, Any] = dict.fromkeys(LIMITS)
    return replace(settings, **off)


def environment(settings: Settings) -> dict[str, str]:
    """The settings of the tests as a server's environment."""
    return {
        "PATH": os.environ["PATH"],
        "ENVIRONMENT": settings.environment,
        "PUBLIC_URL": settings.public_url,
        "SECRET_KEY": settings.secret_key,
        "DATABASE_URL": settings.database_url,
        "VALKEY_URL": settings.valkey_url,
        "ARGON2_MEMORY_KIB": str(settings.argon2_memory_kib),
        "ARGON2_TIME_COST": str(settings.argon2_time_cost),
        "TRUSTED_PROXIES": "127.0.0.1/32",
        "METRICS_TOKEN": settings.metrics_token,
        "SMTP_URL": settings.smtp_url,
        "MAIL_FROM": settings.mail_from,
        "LOG_LEVEL": settings.log_level,
        "DRAIN_SECONDS": "0",
        "CORS_ORIGINS": ",".join(settings.cors_origins),
        "REDIRECT_URIS": ",".join(settings.redirect_uris),
        "OIDC_PROVIDERS": msgspec.json.encode(settings.oidc_providers).decode() if settings.oidc_providers else "",
        "OUTBOUND_CA_FILE": str(settings.outbound_ca_file or ""),
        "GPUSTACK_URL": settings.gpustack_url,
        "GPUSTACK_API_KEY": settings.gpustack_api_key,
        "GPUSTACK_SYNC_MINUTES": str(settings.gpustack_sync_minutes),
        **{name.upper(): "off" for name in LIMITS if getattr(settings, name) is None},
    }


class Servers:
    """So many replicas; the clients speak to one each."""

    def __init__(self, settings: Settings, directory: Path, number: int) -> None:
        self._environment = environment(settings)
        self._directory = directory
        self._ports = [free_port() for _ in range(number)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self.clients = [AsyncClient(base_url=f"http://127.0.0.1:{port}{BASE}", timeout=30) for port in self._ports]

    def at_localhost(self) -> str:
        """The URL of the first, by which it is known from now on: a browser takes that for a secure place."""
        url = f"http://localhost:{self._ports[0]}"
        self._environment["PUBLIC_URL"] = url
        return url

    async def __aenter__(self) -> Self:
        for number, port in enumerate(self._ports):
            with (self._directory / f"replica-{number}.log").open("wb") as log:
                self._processes.append(
                    subprocess.Popen(
                        [COMMAND, "serve", "--host", "127.0.0.1", "--port", str(port)],
                        env=self._environment,
                        cwd=self._directory,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        await asyncio.gather(*(self._ready(client) for client in self.clients))
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self.clients:
            await client.aclose()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            await asyncio.to_thread(process.wait, 30)

    async def _ready(self, client: AsyncClient) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    if (await client.get("/health/ready")).status_code == 200:
                        return
                except HTTPError:
                    pass
                await asyncio.sleep(0.05)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
