"""Backups of a real PostgreSQL, made and brought back by its own programs."""

import os
import subprocess
from pathlib import Path

from app.cli import embedded
from app.cli.embedded import Postgres


def run(program: str, *words: str | Path) -> None:
    done = subprocess.run([embedded._program(program), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def dump(url: str, file: Path) -> Path:
    run("pg_dump", "--format=custom", "--no-owner", f"--file={file}", url)
    return file


def restore(url: str, file: Path, *options: str) -> None:
    """Into an empty database, as docs/operations.md has it."""
    run("pg_restore", "--exit-on-error", "--no-owner", *options, f"--dbname={url}", file)


def replace(postgres: Postgres, name: str, file: Path) -> None:
    """Put what the file holds in the place of a database, whoever is connected to it."""
    postgres.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    postgres.create_database(name)
    restore(postgres.url(name), file)


def copy_files(postgres: Postgres, directory: Path) -> Path:
    """A copy of a stopped server's files, for another to start on."""
    directory.mkdir()
    for name in ("data", "password"):
        subprocess.run(["cp", "-a", postgres.directory / name, directory / name], check=True)
    owner = (postgres.directory / "data").stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    return directory
