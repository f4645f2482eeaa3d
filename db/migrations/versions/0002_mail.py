"""Mail that waits to be sent, and the languages that people prefer.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = [
    """
    CREATE TABLE mail_outbox (
        id uuid PRIMARY KEY,
        kind text NOT NULL,
        recipient text NOT NULL,
        user_id bigint,
        language text,
        context json NOT NULL,
        links json NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        due_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        attempts integer NOT NULL DEFAULT 0,
        last_error text
    )
    """,
    "CREATE INDEX mail_outbox_due_at_idx ON mail_outbox (due_at)",
    "CREATE INDEX mail_outbox_user_id_idx ON mail_outbox (user_id)",
    # What other rooms may read of a table, through a view that its owner keeps.
    """
    CREATE VIEW user_languages AS
    SELECT user_id, value #>> '{}' AS language FROM preferences WHERE key = 'language' AND json_typeof(value) = 'string'
    """,
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0002', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
