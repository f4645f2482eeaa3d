"""Second factors, passkeys, and logins that wait for one.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = [
    """
    CREATE TABLE totp_secrets (
        user_id bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
        sealed_secret bytea NOT NULL,
        last_step bigint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        confirmed_at timestamptz
    )
    """,
    """
    CREATE TABLE recovery_codes (
        user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        digest bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (user_id, digest)
    )
    """,
    """
    CREATE TABLE pending_logins (
        id uuid PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        password_digest bytea NOT NULL,
        device_name text,
        tries integer NOT NULL DEFAULT 0,
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX pending_logins_user_id_idx ON pending_logins (user_id)",
    "CREATE INDEX pending_logins_expires_at_idx ON pending_logins (expires_at)",
    """
    CREATE TABLE passkeys (
        id uuid PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        credential_id bytea NOT NULL,
        public_key bytea NOT NULL,
        sign_count bigint NOT NULL,
        name text NOT NULL,
        transports text[] NOT NULL,
        backed_up boolean NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        last_used_at timestamptz
    )
    """,
    "CREATE UNIQUE INDEX passkeys_credential_id_key ON passkeys (credential_id)",
    "CREATE INDEX passkeys_user_id_idx ON passkeys (user_id)",
    "CREATE TABLE spent_challenges (id uuid PRIMARY KEY, expires_at timestamptz NOT NULL)",
    "CREATE INDEX spent_challenges_expires_at_idx ON spent_challenges (expires_at)",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0005', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
