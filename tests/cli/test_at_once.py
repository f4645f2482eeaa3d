"""A release that is rolled out everywhere at once: four processes that find the same schema, none or an old one."""

from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from app.cli.embedded import Postgres
from db import schema
from db.revisions import known
from tests.cli.conftest import environment_for
from tests.cli.kit import eventually, gatehouse
from tests.db.test_migrations import STATEMENTS
from tests.kit import BASE, new_name
from tests.servers import free_port

VERSION = "CREATE TABLE schema_version (version_num varchar(32) PRIMARY KEY)"


def bring_to(postgres: Postgres, database: str, revision: str) -> None:
    """As the release left it whose newest migration that was, with somebody in it."""
    statements = [statement for each in sorted(STATEMENTS) if each <= revision for statement in STATEMENTS[each]]
    statements += [VERSION, f"INSERT INTO schema_version VALUES ('{revision}')"]
    statements.append("INSERT INTO users (username) VALUES ('ada')")
    postgres.sql(";\n".join(statements), database)


def is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}{BASE}/health/ready") as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False


@pytest.mark.parametrize("revision", ["", "0007"])
def test_four_at_once_are_one(here: Path, postgres: Postgres, valkey_url: str, revision: str) -> None:
    name = new_name("rollout")
    postgres.create_database(name)
    if revision:
        bring_to(postgres, name, revision)
    environment = {**environment_for(postgres.url(name), valkey_url), "ADMIN_PASSWORD": "wombat-Ferry-41-lamp"}
    ports = [free_port(), free_port()]

    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                gatehouse("serve", "--host", "127.0.0.1", "--port", str(port), cwd=here, environment=environment)
            )
            for port in ports
        ]
        commands = [stack.enter_context(gatehouse("migrate", cwd=here, environment=environment)) for _ in range(2)]

        for command in commands:
            assert command.ends() == 0, command.output
        for server, port in zip(servers, ports, strict=True):
            eventually(lambda port=port: is_ready(port), server)  # type: ignore[misc]

    assert sum("applied" in command.output for command in commands) >= 1
    assert postgres.sql("SELECT string_agg(revision, ',' ORDER BY revision) FROM schema_history", name) == ",".join(
        sorted(known())
    )
    assert postgres.sql("SELECT string_agg(username, ',') FROM users", name) == ("ada" if revision else "admin")
    assert postgres.sql("SELECT array_to_string(incarnation_differs(), ',')", name) == ""


def test_a_plan_for_an_old_schema_has_what_it_lacks(postgres: Postgres) -> None:
    name = new_name("rollout")
    postgres.create_database(name)
    bring_to(postgres, name, "0007")

    postgres.sql(schema.plan([each for each in sorted(known()) if each > "0007"]), name)

    assert postgres.sql("SELECT max(version_num) FROM schema_version", name) == max(known())
