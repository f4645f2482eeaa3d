"""`gatehouse check`: every finding names what to do, and no secret."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from valkey import Valkey as Client

from app.cli.check import _memory, _server, _where
from app.cli.embedded import Postgres, Valkey
from tests.cli.conftest import Run, environment_for
from tests.kit import new_name
from tests.mail.kit import Postbox, serving_in_a_thread

NOBODY = "127.0.0.1:1"


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, str]]]:
    """By subject."""
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    by_subject: dict[str, list[dict[str, str]]] = {}
    for finding in report["findings"]:
        by_subject.setdefault(finding["subject"], []).append(finding)
    return by_subject


@pytest.fixture
def mail_server() -> Iterator[str]:
    """The URL of a server in a thread of its own, which takes mail from everybody."""
    with serving_in_a_thread(Postbox()) as postbox:
        yield postbox.url


def test_all_is_well(
    run: Run, environment: dict[str, str], mail_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = {"SMTP_URL": mail_server, "MAIL_FROM": "auth@example.org"}
    assert run("check", **environment, **mail, METRICS_TOKEN="of-the-tests") == 0

    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == {"ok"}
    assert {line.split()[1] for line in lines} >= {
        "settings",
        "postgresql",
        "migrations",
        "connections",
        "valkey",
        "mail",
        "argon2",
    }


def test_a_dead_valkey_is_an_error(
    run: Run, environment: dict[str, str], own_valkey: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    own_valkey.stop()

    assert run("check", "--json", **{**environment, "VALKEY_URL": own_valkey.url}) == 1

    found = findings(capsys)
    (valkey,) = found["valkey"]
    assert valkey["status"] == "error"
    assert "VALKEY_URL" in valkey["message"]
    assert found["postgresql"][0]["status"] == "ok"


def test_a_replica_is_an_error(
    run: Run, environment: dict[str, str], own_valkey: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client.from_url(own_valkey.url) as client:
        client.replicaof("127.0.0.1", 1)

    assert run("check", "--json", **{**environment, "VALKEY_URL": own_valkey.url}) == 1

    (valkey,) = findings(capsys)["valkey"]
    assert valkey["status"] == "error"
    assert "replica" in valkey["message"]


def test_a_dead_database_is_an_error(run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    environment["DATABASE_URL"] = f"postgresql://gatehouse:hunter2@{NOBODY}/gatehouse"

    assert run("check", "--json", **environment) == 1

    (finding,) = findings(capsys)["postgresql"]
    assert finding["status"] == "error"
    assert NOBODY in finding["message"]
    assert "hunter2" not in finding["message"]


def test_a_schema_that_is_behind_names_the_command(
    run: Run, postgres: Postgres, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = new_name("empty")
    postgres.create_database(name)

    assert run("check", "--json", **environment_for(postgres.url(name), valkey_url)) == 1

    (finding,) = findings(capsys)["migrations"]
    assert "gatehouse migrate" in finding["message"]


def test_a_release_that_is_too_old_for_the_schema_is_an_error(
    run: Run, own_database: str, postgres: Postgres, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    postgres.sql("UPDATE schema_history SET oldest_release = '999.0.0'", own_database.rpartition("/")[2])

    assert run("check", "--json", **environment_for(own_database, valkey_url)) == 1

    (finding,) = findings(capsys)["migrations"]
    assert "999.0.0" in finding["message"]


def test_who_may_change_the_audit_is_said(
    run: Run, environment: dict[str, str], own_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("check", "--json", **environment)
    (separate,) = findings(capsys)["audit"]
    run("check", "--json", **environment | {"AUDIT_RETENTION_DAYS": "399"})
    (too_soon,) = findings(capsys)["audit"]
    run("check", "--json", **environment | {"DATABASE_URL": own_database})
    (single,) = findings(capsys)["audit"]

    assert (separate["status"], too_soon["status"], single["status"]) == ("ok", "warning", "ok")
    assert "only add" in separate["message"]
    assert "gatehouse migrate" in too_soon["message"]
    assert "may change" in single["message"]


def test_too_few_connections_are_a_warning(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "--json", "--workers", "20", **environment) == 0

    (finding,) = findings(capsys)["connections"]
    assert finding["status"] == "warning"
    assert "DATABASE_POOL_SIZE" in finding["message"]


def test_what_does_not_belong_into_production_is_a_warning(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"ENVIRONMENT": "development", "SECRET_KEY_PREVIOUS": environment["SECRET_KEY"][::-1]}
    assert run("check", "--json", **environment, **more) == 0

    messages = [finding["message"] for finding in findings(capsys)["settings"] if finding["status"] == "warning"]
    assert [message.split()[0].partition("=")[0] for message in messages] == ["ENVIRONMENT", "SECRET_KEY_PREVIOUS"]


@pytest.mark.parametrize(("sessions", "said"), [("1", "7 days"), ("30", "30 days")])
def test_the_key_before_is_kept_as_long_as_anything_that_it_made(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], sessions: str, said: str
) -> None:
    """Links of seven days outlive sessions of one."""
    more = {"SECRET_KEY_PREVIOUS": environment["SECRET_KEY"][::-1], "REFRESH_TOKEN_EXPIRE_DAYS": sessions}
    assert run("check", "--json", **environment, **more) == 0

    (message,) = (each["message"] for each in findings(capsys)["settings"] if each["status"] == "warning")
    assert f"unset it {said} after" in message


# ---- mail ---------------------------------------------------------------------------------------------------------


def mail_findings(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    return [(finding["status"], finding["message"]) for finding in findings(capsys)["mail"]]


def test_production_without_a_mail_server_is_said(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "--json", **environment) == 0

    ((status, message),) = mail_findings(capsys)
    assert status == "warning"
    assert "SMTP_URL" in message


def test_in_development_no_mail_server_is_needed(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    run("check", "--json", **environment, ENVIRONMENT="development")

    assert mail_findings(capsys) == [("ok", "printed to the console")]


def test_a_mail_server_that_does_not_answer_is_named_without_its_password(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    mail = {"SMTP_URL": f"smtp://user:hunter2@{NOBODY}", "MAIL_FROM": "auth@example.org"}
    assert run("check", "--json", **environment, **mail) == 1

    ((status, message),) = mail_findings(capsys)
    assert status == "error"
    assert NOBODY in message
    assert "SMTP_URL" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("url", "warned"), [("smtp://{}", True), ("smtp://user:pass@{}", False), ("smtp+starttls://{}", False)]
)
def test_a_plain_way_to_another_host_is_a_warning(
    run: Run, environment: dict[str, str], capsys: pytest.CaptureFixture[str], url: str, *, warned: bool
) -> None:
    elsewhere = url.format("127.0.0.2:1")  # which nobody listens on, and is not one of the names of this machine
    assert run("check", "--json", **environment, SMTP_URL=elsewhere, MAIL_FROM="auth@example.org") == 1

    assert [status for status, _ in mail_findings(capsys)] == ["error", "warning"][: 1 + warned]


def test_a_template_that_cannot_be_used_is_named(
    run: Run, environment: dict[str, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mail" / "de").mkdir(parents=True)
    (here / "mail" / "de" / "invitation.txt").write_text("Subject: Hallo {{ usrname }}\n")
    assert run("check", "--json", **environment, MAIL_TEMPLATES_DIR=str(here / "mail")) == 1

    (status, message), _ = mail_findings(capsys)
    assert status == "error"
    assert "de/invitation: 'usrname' is undefined" in message


# ---- what is not shown --------------------------------------------------------------------------------------------


def test_no_password_and_no_key_is_printed(
    run: Run, environment: dict[str, str], postgres: Postgres, valkey: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    run("check", **environment)

    printed = capsys.readouterr()
    for secret in (environment["SECRET_KEY"], postgres.password, valkey.password):
        assert secret not in printed.out + printed.err


@pytest.mark.parametrize(
    ("info", "status"),
    [
        ({"valkey_version": "9.1.2", "redis_version": "7.2.4", "role": "master"}, "ok"),
        ({"valkey_version": "7.2.5", "redis_version": "7.2.4", "role": "master"}, "warning"),
        ({"redis_version": "7.4.1", "role": "master"}, "ok"),
        ({"redis_version": "6.2.0", "role": "master"}, "warning"),
    ],
)
def test_the_server_should_be_one_that_was_tried(info: dict[str, str], status: str) -> None:
    assert _server(info, "cache:6379").status == status


@pytest.mark.parametrize(
    ("policy", "maxmemory", "status"),
    [("noeviction", 1 << 20, "warning"), ("noeviction", 0, "ok"), ("volatile-ttl", 1 << 20, "ok")],
)
def test_a_full_cache_has_to_evict(policy: str, maxmemory: int, status: str) -> None:
    assert _memory({"maxmemory_policy": policy, "maxmemory": maxmemory}).status == status


def test_a_store_is_named_without_its_password() -> None:
    assert _where("postgresql://gatehouse:hunter2@one:5432,two/gatehouse") == "one:5432,two"
    assert _where("postgresql:///gatehouse?host=/run/postgresql") == "the given socket"
