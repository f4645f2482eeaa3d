"""`gatehouse dev`: everything on this machine, by one command, for trying and developing."""

import argparse
import asyncio
import io
import os
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from dotenv.parser import parse_stream

from app import logs
from app.cli import files, runtime, serve
from app.cli.embedded import DATABASE, Postgres, Valkey
from app.cli.server import Server, free_address
from app.cli.terminal import say
from app.settings import Settings, load
from db import schema

STOP_SECONDS = 2  # for requests under way at Ctrl-C: a person waits
LOOK_SECONDS = 0.05  # between two looks whether the workers listen
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (where to look for a server that listens everywhere)
API = "/api/auth/v2"

Store = TypeVar("Store", Postgres, Valkey)


def run(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    directory = files.private_directory(arguments.data_dir)
    with files.locked(directory):
        address = free_address(arguments.host, arguments.port)
        say(f"gatehouse dev: data in {directory}")
        with (
            _told(Postgres(directory / "postgres")) as postgres,
            _told(Valkey(directory / "valkey")) as valkey,
            runtime.directory(arguments.workers) as shared,
        ):
            settings = _settings(arguments, directory, postgres.url(), valkey.url)
            logs.configure(settings)
            _migrate(settings)
            _forget_last_valkey(postgres)
            _make_first_admin(settings)
            server = Server(
                serve.TARGET,
                address,
                arguments.port,
                arguments.workers,
                draining=shared / "draining",
                drain_seconds=0.0,
                stop_seconds=STOP_SECONDS,
            )
            with _announced(address, arguments.port, _welcome(settings, directory), started):
                server.run()
        say("gatehouse dev: stopped")
    return 0


@contextmanager
def _told(store: Store) -> Generator[Store]:
    started = time.monotonic()
    with store:
        say(f"  {store.name} runs on port {store.port} ({time.monotonic() - started:.1f} s)")
        yield store


def _settings(arguments: argparse.Namespace, directory: Path, database_url: str, valkey_url: str) -> Settings:
    """What is set holds, but for the stores and the key that their data is sealed with: those are our own.

    Left in the environment for the workers, and in `env` for other commands: `gatehouse check --env-file .data/env`.
    """
    given = _given()
    if given.get("DATABASE_URL") or given.get("VALKEY_URL"):
        say("  DATABASE_URL and VALKEY_URL are set, and for `gatehouse serve`: dev has stores of its own")
    defaults = {"PUBLIC_URL": f"http://localhost:{arguments.port}", "LOG_FORMAT": "console"}
    ours = {
        "ENVIRONMENT": "development",
        "SECRET_KEY": files.kept_secret(directory / "secret_key"),
        "DATABASE_URL": database_url,
        "VALKEY_URL": valkey_url,
    }
    os.environ.update(defaults | given | ours)
    settings = load()
    lines = [f"{name}={_quoted(value)}\n" for name, value in (defaults | given | ours).items()]
    files.replace(directory / "env", "".join(lines))
    return settings


def _given() -> dict[str, str]:
    """What is set, in `.env` or the environment; whatever is wrong with it is for `load` to say."""
    try:
        text = Path(".env").read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        text = ""
    found = {each.key: each.value for each in parse_stream(io.StringIO(text)) if each.key} | os.environ
    return {field.name.upper(): value for field in fields(Settings) if (value := found.get(field.name.upper()))}


def _quoted(value: str) -> str:
    """As it stands in a dotenv file."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _migrate(settings: Settings) -> None:
    missing = asyncio.run(schema.pending(settings.database_url))
    if missing:
        started = time.monotonic()
        asyncio.run(schema.upgrade(settings.database_url))
        say(f"  Schema brought to {missing[-1]} ({time.monotonic() - started:.1f} s)")


def _forget_last_valkey(postgres: Postgres) -> None:
    """Let ours be trusted at once: servers take turns at most every 10 s, but the last one is gone with its data."""
    postgres.sql("UPDATE cache_epoch SET granted_at = '-infinity'", DATABASE)


def _make_first_admin(settings: Settings) -> None:
    """Shown at once, and never again: should the server fail to start, the account is there all the same."""
    from app.cli import first_admin, passwords  # noqa: PLC0415 (prometheus_client has to be imported after `runtime`)

    password = settings.admin_password or passwords.generated()
    if asyncio.run(first_admin.make(settings, password)):
        shown = "as in ADMIN_PASSWORD" if settings.admin_password else f"{password}   (shown only now)"
        say("\n  The first administrator was made:\n")
        say(f"    username       {settings.admin_username}\n    password       {shown}")


def _welcome(settings: Settings, directory: Path) -> str:
    url = settings.public_url
    body = f'{{"username": "{settings.admin_username}", "password": "..."}}'
    way_back = f"{sys.argv[0]} users set-password {settings.admin_username} --env-file {directory / 'env'}"
    lines = [
        f"    service        {url}{API}",
        *([f"    documentation  {url}/docs"] if settings.api_docs else []),
        f"    sign in        curl {url}{API}/login -H 'Content-Type: application/json' -d '{body}'",
        f"    password lost  {way_back}",
        "    stop           Ctrl-C",
    ]
    return "\n".join(lines)


@contextmanager
def _announced(address: str, port: int, text: str, started: float) -> Generator[None]:
    """Say it once the workers listen; unless that never happens."""
    over = threading.Event()
    reachable = (ANY_ADDRESS.get(address, address), port)

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            try:
                socket.create_connection(reachable, timeout=1.0).close()
            except OSError:
                continue
            say(f"\n  Ready after {time.monotonic() - started:.1f} s:\n\n{text}\n")
            return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
