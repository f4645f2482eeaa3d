"""Indexes for the list of users: its orders, and the trigrams of what it is searched by.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = [
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",  # a trusted one: whoever may create in this database may have it
    r"""
    ALTER TABLE users ADD COLUMN words text NOT NULL
    GENERATED ALWAYS AS (lower(username || chr(10) || COALESCE(email, '') || chr(10) || COALESCE(full_name, ''))) STORED
    """,
    "CREATE INDEX users_words_idx ON users USING gin (words gin_trgm_ops)",
    'CREATE INDEX users_username_idx ON users (lower(username) COLLATE "C", id)',
    "CREATE INDEX users_address_idx ON users (COALESCE(email, '') COLLATE \"C\", id)",
    'CREATE INDEX users_full_name_idx ON users (lower(full_name) COLLATE "C")',
    "CREATE INDEX users_last_login_idx ON users (COALESCE(last_login, '1970-01-01 00:00:00+00'::timestamp with time zone), id)",
    "CREATE INDEX users_inactive_idx ON users (created_at, id) WHERE NOT is_active",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0008', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
