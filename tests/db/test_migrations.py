"""What migrations may do under the release before, and what they lock: as read of their SQL, and as PostgreSQL says."""

import re
from itertools import chain

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.cli.embedded import Postgres
from db import locking, schema
from db.revisions import DIRECTORY
from tests.db.rules import NOTED, faults
from tests.kit import new_name

FIRST_HELD = "0011"  # those before it have been run by nobody but ourselves
HELD = """
SELECT DISTINCT c.relname AS name, l.mode
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.granted AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relnamespace = 'public'::regnamespace AND c.relname = ANY ($1)
"""
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('users', 'user_roles', 'sessions') ORDER BY indexname
"""
MODES = {
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}
DOCSTRING = "A new one.\n\nThe oldest release that works on this schema: 0.1.0.\n"
NOTE = "INSERT INTO schema_history (revision, oldest_release) VALUES ('0099', '{}')"


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(DIRECTORY.parent))
    return ScriptDirectory.from_config(config)


STATEMENTS = schema.statements_of(scripts())
DOCSTRINGS = {script.revision: script.module.__doc__ or "" for script in scripts().walk_revisions()}
OLDEST = {revision: NOTED.search(statements[-1]) for revision, statements in STATEMENTS.items()}
ALLOWED = {revision: found[2] for revision, found in OLDEST.items() if found}


# ---- locks --------------------------------------------------------------------------------------------------------


async def test_what_a_plan_says_of_locks_is_what_postgresql_takes(postgres: Postgres) -> None:
    name = new_name("empty")
    postgres.create_database(name)
    connection = await asyncpg.connect(postgres.url(name))
    tables_of_indexes = locking.indexes(chain.from_iterable(STATEMENTS.values()))

    for revision, statements in sorted(STATEMENTS.items()):
        before = [row["relname"] for row in await connection.fetch(TABLES)]
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
            taken: dict[str, str] = {}
            for row in await connection.fetch(HELD, before):
                if mode := MODES.get(row["mode"]):
                    taken[row["name"]] = max(mode, taken.get(row["name"], mode), key=locking.MODES.index)

        assert locking.locked(statements, tables_of_indexes) == taken, revision

    await connection.close()


async def test_indexes_can_be_made_beforehand_as_the_plan_has_them(postgres: Postgres, own_database: str) -> None:
    """By the lines of it that docs/administration.md takes, on the schema that is before."""
    name = new_name("before")
    postgres.create_database(name)
    connection = await asyncpg.connect(postgres.url(name))
    for revision in sorted(STATEMENTS):
        if revision < "0012":
            await connection.execute("; ".join(STATEMENTS[revision]))
    since = [revision for revision in sorted(STATEMENTS) if revision >= "0012"]
    ready = re.findall(r"CREATE INDEX IF NOT EXISTS .*;", schema.plan(since))

    for statement in ready:
        await connection.execute(statement.replace("INDEX", "INDEX CONCURRENTLY", 1))
    made = await connection.fetch(INDEXES)
    async with connection.transaction():
        for statement in chain.from_iterable(STATEMENTS[revision] for revision in since):
            await connection.execute(statement)
    whole = await connection.fetch(INDEXES)
    await connection.close()
    migrated = await asyncpg.connect(own_database)

    assert len(ready) == 18
    assert whole == await migrated.fetch(INDEXES)
    assert set(whole) < set(made)  # it dropped some, and had none to make
    await migrated.close()


def test_the_plan_says_for_each_migration_what_it_locks() -> None:
    plan = schema.plan([revision for revision in sorted(STATEMENTS) if revision >= "0007"])

    assert (
        "-- Running upgrade 0006 -> 0007\n-- locks sessions (ACCESS EXCLUSIVE): everybody who uses it waits\n" in plan
    )
    assert "-- Running upgrade 0008 -> 0009\n-- locks sessions (SHARE): whoever writes to it waits\n" in plan
    assert "-- Running upgrade 0010 -> 0011\n-- locks no table that is there before\n" in plan
    assert "-- Running upgrade 0012 -> 0013\n-- locks no table that is there before\n" in plan
    assert "\n-- locks user_roles (ACCESS EXCLUSIVE): everybody who uses it waits\n" in plan
    assert plan.index("SET LOCAL lock_timeout") < plan.index("ALTER TABLE sessions")


# ---- rules --------------------------------------------------------------------------------------------------------


def test_migrations_keep_the_rules() -> None:
    for revision in sorted(STATEMENTS):
        if revision >= FIRST_HELD:
            before = {each: oldest for each, oldest in ALLOWED.items() if each < revision}
            assert list(faults(revision, DOCSTRINGS[revision], STATEMENTS[revision], before)) == [], revision


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("ALTER TABLE users DROP COLUMN full_name", "drop"),
        ("ALTER TABLE users DROP full_name", "drop"),
        ("DROP TABLE IF EXISTS erasures", "drop"),
        ("DROP INDEX users_email_key", "drop"),
        ("DROP INDEX by_name", "drop"),
        ("DROP INDEX IF EXISTS users_full_name_idx", "slow"),
        ("ALTER TABLE users RENAME COLUMN full_name TO name", "rename"),
        ("ALTER TABLE users RENAME full_name TO name", "rename"),
        ("ALTER TABLE sessions RENAME TO logins", "rename"),
        ("ALTER TABLE users ALTER COLUMN email SET NOT NULL", "tighten"),
        ("ALTER TABLE users ADD COLUMN telephone text NOT NULL", "tighten"),
        ("ALTER TABLE users ALTER COLUMN email TYPE varchar(100)", "retype"),
        ("ALTER TABLE users ADD COLUMN a text NOT NULL GENERATED ALWAYS AS (lower(username)) STORED", "rewrite"),
        ("ALTER TABLE users ADD COLUMN a timestamptz NOT NULL DEFAULT clock_timestamp()", "rewrite"),
        ("ALTER TABLE users ADD CONSTRAINT a CHECK (length(username) < 256)", "validate"),
        ("UPDATE users SET email = lower(email)", "rows"),
        ("DELETE FROM sessions WHERE revoked_at IS NOT NULL", "rows"),
        ("CREATE INDEX a ON users (full_name)", "index"),
    ],
)
def test_what_breaks_the_release_before_has_to_be_meant(statement: str, name: str) -> None:
    found = list(faults("0099", DOCSTRING, [statement, NOTE.format("0.1.0")], {"0098": "0.1.0"}))
    assert len(found) == 1
    assert f"({name}): " in found[0]

    meant = DOCSTRING.replace("0.1.0", "0.2.0") + f"On purpose, {name}: nothing since 0.2.0 uses it.\n"
    assert list(faults("0099", meant, [statement, NOTE.format("0.2.0")], {"0098": "0.1.0"})) == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users ADD COLUMN telephone text",
        "ALTER TABLE users ADD COLUMN telephone text NOT NULL DEFAULT ''",
        "ALTER TABLE users ADD COLUMN telephone text DEFAULT '' NOT NULL",
        "ALTER TABLE users ALTER COLUMN email DROP NOT NULL",
        "ALTER TABLE users ADD CONSTRAINT a CHECK (length(username) < 256) NOT VALID",
        "CREATE TABLE tenants (id bigint PRIMARY KEY, name text NOT NULL, user_id bigint REFERENCES users (id))",
        "-- RENAME TO nothing\nCREATE VIEW names AS SELECT username FROM users",
        "INSERT INTO permissions (name) VALUES ('UPDATE everything')",
    ],
)
def test_what_the_release_before_does_not_notice_needs_no_word(statement: str) -> None:
    assert list(faults("0099", DOCSTRING, [statement, NOTE.format("0.1.0")], {"0098": "0.1.0"})) == []


def test_a_table_of_its_own_a_migration_may_change_as_it_likes() -> None:
    own = ["CREATE TABLE tenants (id bigint)", "CREATE INDEX tenants_idx ON tenants (id)", "DELETE FROM tenants"]

    assert list(faults("0099", DOCSTRING, [*own, NOTE.format("0.1.0")], {"0098": "0.1.0"})) == []


@pytest.mark.parametrize(
    ("docstring", "statements", "wrong"),
    [
        (DOCSTRING, ["SELECT 1"], "its last statement has to be INSERT INTO schema_history"),
        (DOCSTRING, [NOTE.format("0.2.0")], "the docstring has to say"),
        (DOCSTRING, ["COMMIT", NOTE.format("0.1.0")], "in one transaction"),
        (DOCSTRING, ["SET LOCAL lock_timeout = '1h'", NOTE.format("0.1.0")], "in one transaction"),
        (DOCSTRING + "On purpose, drop: of nothing.\n", [NOTE.format("0.1.0")], "nothing that needs it"),
        (
            DOCSTRING + "On purpose, drop: nobody reads it.\n",
            ["DROP TABLE erasures", NOTE.format("0.1.0")],
            "oldest_release has to be the first that does not",
        ),
    ],
)
def test_what_is_noted_of_releases_has_to_be_right(docstring: str, statements: list[str], wrong: str) -> None:
    (found,) = faults("0099", docstring, statements, {"0098": "0.1.0"})

    assert wrong in found
