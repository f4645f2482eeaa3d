"""Tokens that are mailed and work once.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = [
    """
    CREATE TABLE one_time_tokens (
        id uuid PRIMARY KEY,
        purpose text NOT NULL,
        user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        email text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX one_time_tokens_user_id_idx ON one_time_tokens (user_id, purpose)",
    "CREATE INDEX one_time_tokens_expires_at_idx ON one_time_tokens (expires_at)",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0003', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
