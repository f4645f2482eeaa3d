"""Each setting is read and checked, one clear line for each that is wrong, and no secret in any of them."""

from dataclasses import fields

import pytest

from app.settings import PARSERS, Settings
from tests.settings.kit import CANARY, OTHER_SECRET, REQUIRED, SECRET, loaded, refused
from tests.settings.tables import BAD, GOOD


def test_the_tables_of_these_tests_know_every_setting() -> None:
    names = {field.name.upper() for field in fields(Settings)}

    assert names == set(GOOD) == set(BAD) == {name.upper() for name in PARSERS}


@pytest.mark.parametrize(("name", "raw", "value"), [(name, *case) for name, cases in GOOD.items() for case in cases])
def test_a_setting_is_read(name: str, raw: str, value: object) -> None:
    given = {"MAIL_FROM": "auth@example.org", name: raw}  # which SMTP_URL asks for

    assert getattr(loaded(**given), name.lower()) == value


@pytest.mark.parametrize(("name", "raw"), [(name, raw) for name, cases in BAD.items() for raw in cases if raw])
def test_a_wrong_setting_is_one_line_that_begins_with_its_name_and_does_not_repeat_it(name: str, raw: str) -> None:
    (line,) = refused(REQUIRED | {name: raw})

    assert line.startswith(f"{name}: ")
    assert CANARY.lower() not in line.lower()


def test_each_wrong_setting_has_its_line() -> None:
    lines = refused(REQUIRED | {"LOG_LEVEL": "loud", "SECRET_KEY": "short", "DRAIN_SECONDS": "soon"})

    assert sorted(line.partition(":")[0] for line in lines) == ["DRAIN_SECONDS", "LOG_LEVEL", "SECRET_KEY"]


def test_what_is_required_is_missed() -> None:
    lines = refused({})

    assert [line.partition(":")[0] for line in lines] == ["SECRET_KEY", "DATABASE_URL", "VALKEY_URL", "PUBLIC_URL"]


@pytest.mark.parametrize("name", REQUIRED)
def test_an_empty_setting_is_none(name: str) -> None:
    (line,) = refused(REQUIRED | {name: "  "})

    assert line.startswith(f"{name}: is required")


def test_no_secret_shows_in_the_settings_themselves() -> None:
    secrets = {"SECRET_KEY": SECRET, "SECRET_KEY_PREVIOUS": OTHER_SECRET, "JWT_SECRET": OTHER_SECRET[::-1]}
    mail = {"SMTP_URL": "smtps://user:hunter2@mail.example.org", "MAIL_FROM": "auth@example.org"}
    shown = repr(loaded(**secrets, **mail, ADMIN_PASSWORD="wombat-Ferry-41-lamp", METRICS_TOKEN="metrics-wombat"))

    assert "https://auth.example.org" in shown
    for secret in (*secrets.values(), "hunter2", "wombat"):
        assert secret not in shown
