"""Deleted people whose traces in the audit are still to be blanked.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = [
    "CREATE TABLE erasures (user_id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0004', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
