"""Sessions whose refresh token travels in the browser's cookie alone.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = [
    "ALTER TABLE sessions ADD COLUMN by_cookie boolean NOT NULL DEFAULT false",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0007', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
