"""Settings for commands that run in this process, in a directory of their own."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from app.cli.main import main
from app.logs import StandardError
from app.settings import Settings

Run = Callable[..., int]

NOT_OF_COMMANDS = '"level":"info"', '"level":"warning"'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory without `.env`, in an environment without settings."""
    for field in fields(Settings):
        monkeypatch.delenv(field.name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def environment(here: Path, postgres_url: str, valkey_url: str) -> dict[str, str]:
    """What a command needs to work on the stores that tests share."""
    return environment_for(postgres_url, valkey_url)


@pytest.fixture
def run(here: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command here, by these settings; its exit status.

    Loggers that a service of this process has set up say no more meanwhile than those of a command alone: errors.
    """
    write = StandardError.write

    def write_errors(log: StandardError, text: str) -> int:
        return 0 if any(level in text for level in NOT_OF_COMMANDS) else write(log, text)

    def command(*words: str, **settings: str) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(StandardError, "write", write_errors)
            for name, value in settings.items():
                patch.setenv(name, value)
            return main(words)

    return command


def environment_for(postgres_url: str, valkey_url: str) -> dict[str, str]:
    return {
        "PUBLIC_URL": "https://auth.example.test",
        "SECRET_KEY": "p7Jq2sVx9Lr4Tz8Wb3Nc6Md1Kf5Hg0Ya",
        "DATABASE_URL": postgres_url,
        "VALKEY_URL": valkey_url,
        "ARGON2_MEMORY_KIB": "8192",
        "ARGON2_TIME_COST": "1",
    }
