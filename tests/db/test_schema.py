"""The schema: made by the migrations, however often and however many at once; and what the models say it is."""

import re
import secrets

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, String, text
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from app.cli.embedded import Postgres
from app.gpustack.instance import LONGEST_NAME
from app.identity import names
from app.identity.structs import LONGEST_ADDRESS, LONGEST_FULL_NAME
from db import schema
from db.revisions import DIRECTORY, known
from db.tables import metadata
from tests.kit import new_name

OURS_ALONE = ("incarnation", "schema_history", "schema_version")  # which have no model
HAN = [chr(number) for number in range(0x20000, 0x2A6DF)]  # CJK Unified Ideographs Extension B: four octets each
PARTITION = re.compile(r"audit_events_\w+")
SHAPE = """
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""


@pytest.fixture
def empty(postgres: Postgres) -> str:
    """The URL of a database in which nothing is yet."""
    name = new_name("empty")
    postgres.create_database(name)
    return postgres.url(name)


async def shape(url: str) -> list[tuple[str, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(SHAPE)]
    finally:
        await connection.close()


async def test_an_empty_database_is_brought_to_head(empty: str) -> None:
    assert await shape(empty) == []
    assert await schema.pending(empty) == sorted(known())

    await schema.upgrade(empty)

    assert await schema.pending(empty) == []
    assert {row[0] for row in await shape(empty)} >= set(metadata.tables)


async def test_a_second_run_changes_nothing(empty: str) -> None:
    await schema.upgrade(empty)
    before = await shape(empty)

    await schema.upgrade(empty)

    assert await shape(empty) == before
    assert await history(empty) == sorted(known())


async def test_a_schema_that_is_newer_is_left_alone(own_database: str) -> None:
    """As the release before finds it, which somebody has gone back to."""
    connection = await asyncpg.connect(own_database)
    await connection.execute("UPDATE schema_version SET version_num = '9999'")
    await connection.execute("INSERT INTO schema_history VALUES ('9999', '0.1.0')")
    await connection.close()

    await schema.upgrade(own_database)

    assert (await history(own_database))[-1] == "9999"


async def test_a_migration_that_fails_leaves_nothing_behind(empty: str) -> None:
    connection = await asyncpg.connect(empty)
    await connection.execute("CREATE VIEW user_names AS SELECT 1 AS in_the_way")  # which ours makes last

    with pytest.raises(Exception, match="user_names"):
        await schema.upgrade(empty)

    assert {row[0] for row in await shape(empty)} == {"user_names"}
    await connection.execute("DROP VIEW user_names")
    await connection.close()
    await schema.upgrade(empty)
    assert await schema.pending(empty) == []


async def history(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT revision, oldest_release FROM schema_history ORDER BY revision")
    finally:
        await connection.close()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", row["oldest_release"]) for row in rows)
    return [row["revision"] for row in rows]


# ---- the plan -----------------------------------------------------------------------------------------------------


async def test_the_plan_is_the_sql_and_touches_nothing(empty: str, own_database: str, postgres: Postgres) -> None:
    plan = schema.plan(await schema.pending(empty))

    assert await shape(empty) == []

    postgres.sql(plan, empty.rpartition("/")[2])
    assert await shape(empty) == await shape(own_database)
    assert await schema.pending(empty) == []
    await schema.upgrade(empty)
    assert await history(empty) == sorted(known())


async def test_where_nothing_is_missing_there_is_nothing_to_plan(own_database: str) -> None:
    assert schema.plan(await schema.pending(own_database)) == ""


# ---- migrations and models ----------------------------------------------------------------------------------------


def test_migrations_are_one_line_and_their_files_are_named_for_them() -> None:
    config = Config()
    config.set_main_option("script_location", str(DIRECTORY.parent))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]

    assert [script.revision for script in scripts] == sorted(known())
    for before, script in zip([None, *scripts], scripts, strict=False):
        assert script.down_revision == (before and before.revision)
        assert script.path.rpartition("/")[2].startswith(f"{script.revision}_")


async def test_the_models_say_what_the_migrations_have_made(own_database: str) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"include_object": compared, "compare_type": types_differ, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    engine = schema.engine_for(own_database)
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()

    assert found == []


async def test_the_models_indexes_are_those_of_the_migrations(empty: str, own_database: str) -> None:
    """To the letter, with their collations and operator classes, which Alembic does not compare."""
    engine = schema.engine_for(empty)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE EXTENSION pg_trgm"))
        await connection.run_sync(metadata.create_all)
    await engine.dispose()

    assert await indexes(empty) == await indexes(own_database)


async def test_the_longest_names_there_may_be_have_room_in_every_index(own_database: str) -> None:
    """At random, for what repeats itself takes less room."""
    username = names.username_elsewhere("".join(secrets.choice(HAN) for _ in range(LONGEST_NAME)))
    username += "~1234abcd" * 2  # who gave way to a namesake, and then retired
    full_name = names.full_name("".join(secrets.choice(HAN) for _ in range(LONGEST_FULL_NAME)))
    domain = f"{secrets.token_hex(31)}.{secrets.token_hex(31)}.{secrets.token_hex(31)[:60]}.to"
    email = names.comparable_email(f"{secrets.token_hex(32)[: names.MAX_LOCAL_PART]}@{domain}")
    assert full_name is not None
    assert email is not None
    assert len(email) >= LONGEST_ADDRESS - 3
    connection = await asyncpg.connect(own_database)

    words = await connection.fetchval(
        "INSERT INTO users (provider, username, email, full_name, last_login)"
        " VALUES ('gpustack', $1, $2, $3, now()) RETURNING octet_length(words)",
        username,
        email,
        full_name,
    )
    await connection.close()

    assert words == len(f"{username}\n{email}\n{full_name}".encode())


async def test_the_parameters_of_a_table_are_those_of_its_model(own_database: str) -> None:
    connection = await asyncpg.connect(own_database)
    rows = await connection.fetch(
        "SELECT relname, reloptions FROM pg_class WHERE relname = ANY($1::text[]) AND relkind = 'r'",
        list(metadata.tables),
    )
    await connection.close()

    for row in rows:
        said = metadata.tables[row["relname"]].dialect_options["postgresql"].get("with") or {}
        assert sorted(row["reloptions"] or []) == sorted(f"{name}={value}" for name, value in said.items())


async def test_the_statistics_of_a_column_are_those_of_its_model(own_database: str) -> None:
    connection = await asyncpg.connect(own_database)
    rows = await connection.fetch(
        """
        SELECT relname, attname, attstattarget FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relname = ANY($1::text[]) AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
        """,
        list(metadata.tables),
    )
    await connection.close()

    said = {
        (name, column.key): column.info.get("statistics")
        for name, table in metadata.tables.items()
        for column in table.columns
    }
    assert {(row["relname"], row["attname"]): row["attstattarget"] for row in rows} == said


async def indexes(url: str) -> dict[str, str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        """
        SELECT indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename = ANY($1::text[]) ORDER BY indexname
        """,
        list(metadata.tables),
    )
    await connection.close()
    return {row["indexname"]: row["indexdef"] for row in rows}


def compared(_: SchemaItem, name: str | None, kind: str, reflected: bool, other: SchemaItem | None) -> bool:  # noqa: FBT001
    if kind == "index":
        return False  # by a test of their own
    return not (
        kind == "table" and reflected and name is not None and (name in OURS_ALONE or PARTITION.fullmatch(name))
    )


def types_differ(
    _: MigrationContext, __: object, ___: object, found: TypeEngine[object], said: TypeEngine[object]
) -> bool | None:
    """None: as Alembic thinks. To PostgreSQL `varchar` without a length and `text` are one."""
    unbounded = isinstance(found, String) and isinstance(said, String) and found.length is None and said.length is None
    return False if unbounded else None
