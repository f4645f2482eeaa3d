"""The file `.env`, and the one that lists all there is."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from app.settings import PARSERS, Settings, load
from tests.settings.kit import CANARY, EXAMPLE, REQUIRED, loaded, refused

SETTING = re.compile(r"^(# )?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_the_file_is_read_and_the_environment_wins(env_file: Path) -> None:
    env_file.write_text('\ufeff# ours\nexport LOG_LEVEL="debug" # loud\n\nLOG_FORMAT=console\nAUDIENCE=$HOME\n')

    settings = load(REQUIRED | {"LOG_FORMAT": "json"}, env_file)

    assert (settings.log_level, settings.log_format, settings.audience) == ("debug", "json", "$HOME")


def test_without_a_file_the_environment_is_all_there_is(env_file: Path) -> None:
    assert load(REQUIRED, env_file) == loaded()


def test_a_name_in_the_file_that_is_no_setting_is_refused(env_file: Path) -> None:
    env_file.write_text(f"\n# a comment\nSECRET_KEYY={CANARY}\nregistration=closed\n")

    first, second = refused(REQUIRED, env_file)

    assert first == f"SECRET_KEYY: there is no such setting ({env_file}, line 3)"
    assert second == f"registration: there is no such setting ({env_file}, line 4)"


def test_a_name_in_the_environment_that_is_no_setting_may_be_somebody_elses() -> None:
    assert loaded(PATH="/bin", SECRET_KEYY="x") == loaded()


@pytest.mark.parametrize("line", ["REGISTRATION closed", "REGISTRATION", "=closed", 'AUDIENCE="closed', "A B=c"])
def test_a_line_of_the_file_that_says_nothing_is_refused(env_file: Path, line: str) -> None:
    """Else the setting that it means would pass for its default."""
    env_file.write_text(f"LOG_LEVEL=info\n\n{line}\n")

    assert refused(REQUIRED, env_file) == [f"{env_file}, line 3: is not NAME=value"]


def test_a_secret_that_has_slipped_into_a_line_of_its_own_is_not_shown(env_file: Path) -> None:
    env_file.write_text(f"SECRET_KEY=\\\nMIIEvQ{CANARY}BgkqhkiG9w0BAQEFAASC==\n")

    lines = refused(REQUIRED, env_file)

    assert CANARY not in "".join(lines)
    assert any("line 2" in line for line in lines)


def test_a_file_that_cannot_be_read_is_one_line(env_file: Path) -> None:
    env_file.write_bytes(b"AUDIENCE=\xff\n")

    assert refused(REQUIRED, env_file) == [f"{env_file}: cannot be read: it is not UTF-8"]


def test_the_example_lists_every_setting_with_its_default() -> None:
    listed = {name: (commented, value) for commented, name, value in SETTING.findall(EXAMPLE.read_text())}

    assert sorted(listed) == sorted(field.name.upper() for field in fields(Settings))
    assert len(listed) == len(SETTING.findall(EXAMPLE.read_text()))
    for field in fields(Settings):
        commented, value = listed[field.name.upper()]
        default: Any = field.default
        assert (PARSERS[field.name](value) if value else type(default)()) == default, field.name
        assert bool(commented) == (field.name.upper() not in REQUIRED), field.name


def test_the_example_gives_each_setting_a_reason() -> None:
    for paragraph in EXAMPLE.read_text().split("\n\n"):
        if SETTING.search(paragraph):
            assert paragraph.startswith("# "), paragraph
            assert not SETTING.match(paragraph), paragraph


def test_the_example_starts_a_service_once_what_is_required_is_filled_in(env_file: Path) -> None:
    text = EXAMPLE.read_text()
    for name, value in REQUIRED.items():
        text = text.replace(f"\n{name}=\n", f"\n{name}={value}\n")
    env_file.write_text(text)

    assert load({}, env_file) == loaded()
