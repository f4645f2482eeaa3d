"""Indexes for the filters and orders of the list of sessions, and the census that its figures are read from.

The oldest release that works on this schema: 0.1.0.

Each index is only made where it is not there: whoever has millions of sessions makes them beforehand, one by one, by
CREATE INDEX CONCURRENTLY, and no login waits (docs/administration.md).
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = [
    "CREATE INDEX IF NOT EXISTS sessions_created_at_idx ON sessions (created_at) WHERE revoked_at IS NULL",
    "CREATE INDEX IF NOT EXISTS sessions_expires_at_idx ON sessions (expires_at) WHERE revoked_at IS NULL",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_created_at_idx ON sessions (created_at) WHERE revoked_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS sessions_revoked_expires_at_idx ON sessions (expires_at) WHERE revoked_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS sessions_lifetime_idx ON sessions ((extract(epoch FROM expires_at - created_at)::bigint)) WHERE revoked_at IS NULL",
    "CREATE INDEX IF NOT EXISTS sessions_ip_address_idx ON sessions (ip_address)",
    "CREATE INDEX IF NOT EXISTS sessions_device_name_idx ON sessions (device_name)",
    "CREATE INDEX IF NOT EXISTS sessions_user_agent_idx ON sessions (user_agent)",
    "CREATE INDEX IF NOT EXISTS sessions_amr_idx ON sessions USING gin (amr) WITH (fastupdate = off)",
    """
    CREATE TABLE session_census (
        singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
        counted_at timestamptz NOT NULL,
        took_ms integer NOT NULL,
        sessions bigint NOT NULL,
        figures json NOT NULL
    )
    """,
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0009', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
