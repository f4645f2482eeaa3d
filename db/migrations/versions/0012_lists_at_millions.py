"""Indexes by which a list of millions is read without looking at rows that are not meant.

The oldest release that works on this schema: 0.1.0.

Each index is only made where it is not there: whoever has a million users or sessions makes them beforehand, one by
one, by CREATE INDEX CONCURRENTLY, and no login waits (docs/administration.md). Those that they replace go first: it
takes the lock that keeps everybody out, and whoever takes that last waits for those who wait for him.

On purpose, slow: the release before finds what it lists by the new ones or on the way through others; its clean-up
reads all sessions for each batch, and deletes them as well.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NEVER = "'1970-01-01 00:00:00+00'::timestamp with time zone"
STATEMENTS = [
    "DROP INDEX IF EXISTS sessions_ended_at_idx",
    "DROP INDEX IF EXISTS sessions_ip_address_idx",
    "DROP INDEX IF EXISTS users_created_at_idx",
    "DROP INDEX IF EXISTS users_username_idx",
    "DROP INDEX IF EXISTS users_address_idx",
    "DROP INDEX IF EXISTS users_last_login_idx",
    "DROP INDEX IF EXISTS user_roles_role_idx",
    # An index with the words answers by itself for pages of the table that are as they were when it was last cleaned
    # up. 4,000 logins of a million users change up to a third of these; to clean up takes two seconds.
    "ALTER TABLE users SET (autovacuum_vacuum_scale_factor = 0.003, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_scale_factor = 0.003)",
    "CREATE INDEX IF NOT EXISTS users_username_words_idx ON users (words COLLATE \"C\", id) INCLUDE (is_active)",
    "CREATE INDEX IF NOT EXISTS users_created_at_words_idx ON users (created_at, id) INCLUDE (words, is_active)",
    "CREATE INDEX IF NOT EXISTS users_address_words_idx ON users (COALESCE(email, '') COLLATE \"C\", id) INCLUDE (email, words, is_active)",
    f"CREATE INDEX IF NOT EXISTS users_last_login_words_idx ON users (COALESCE(last_login, {NEVER}), id) INCLUDE (last_login, words, is_active)",
    "CREATE INDEX IF NOT EXISTS user_roles_role_user_id_idx ON user_roles (role, user_id)",
    "CREATE INDEX IF NOT EXISTS sessions_ip_address_expires_at_idx ON sessions (ip_address, expires_at) WHERE revoked_at IS NULL",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_ip_address_idx ON sessions (ip_address) WHERE revoked_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_device_name_idx ON sessions (device_name) WHERE revoked_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_user_agent_idx ON sessions (user_agent) WHERE revoked_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS sessions_otp_created_at_idx ON sessions (created_at) WHERE revoked_at IS NULL AND amr @> '{otp}'::text[]",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_otp_created_at_idx ON sessions (created_at) WHERE revoked_at IS NOT NULL AND amr @> '{otp}'::text[]",
    "CREATE INDEX IF NOT EXISTS sessions_pop_created_at_idx ON sessions (created_at) WHERE revoked_at IS NULL AND amr @> '{pop}'::text[]",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_pop_created_at_idx ON sessions (created_at) WHERE revoked_at IS NOT NULL AND amr @> '{pop}'::text[]",
    "CREATE INDEX IF NOT EXISTS sessions_fed_created_at_idx ON sessions (created_at) WHERE revoked_at IS NULL AND amr @> '{fed}'::text[]",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_fed_created_at_idx ON sessions (created_at) WHERE revoked_at IS NOT NULL AND amr @> '{fed}'::text[]",
    "CREATE INDEX IF NOT EXISTS sessions_offline_created_at_idx ON sessions (created_at) WHERE revoked_at IS NULL AND amr @> '{offline}'::text[]",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_offline_created_at_idx ON sessions (created_at) WHERE revoked_at IS NOT NULL AND amr @> '{offline}'::text[]",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_at_idx ON sessions (revoked_at) WHERE revoked_at IS NOT NULL",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0012', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
