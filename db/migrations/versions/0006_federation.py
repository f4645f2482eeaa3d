"""Identities of other providers, sign-ins under way, clients, and what GPUStack's users need while it is away.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = [
    """
    CREATE TABLE identities (
        id uuid PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        provider text NOT NULL,
        issuer text NOT NULL,
        subject text NOT NULL,
        username text,
        email text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        last_used_at timestamptz
    )
    """,
    "CREATE UNIQUE INDEX identities_subject_key ON identities (issuer, subject)",
    "CREATE INDEX identities_user_id_idx ON identities (user_id)",
    """
    CREATE TABLE sign_ins (
        id uuid PRIMARY KEY,
        code_challenge text NOT NULL,
        assertion jsonb,
        exchange_until timestamptz,
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX sign_ins_expires_at_idx ON sign_ins (expires_at)",
    "ALTER TABLE pending_logins ALTER COLUMN password_digest DROP NOT NULL",
    "ALTER TABLE pending_logins ADD COLUMN identity_id uuid REFERENCES identities (id) ON DELETE CASCADE",
    "ALTER TABLE pending_logins ADD COLUMN amr text[] NOT NULL DEFAULT '{pwd}'",
    "CREATE INDEX pending_logins_identity_id_idx ON pending_logins (identity_id) WHERE identity_id IS NOT NULL",
    # a name of this service is compared without case; one from elsewhere is as it is there
    "CREATE UNIQUE INDEX users_local_name_key ON users (lower(username)) WHERE provider = 'local'",
    "CREATE UNIQUE INDEX users_upstream_name_key ON users (provider, username) WHERE provider <> 'local'",
    "DROP INDEX users_username_key",
    """
    CREATE TABLE upstream_users (
        identity_id uuid PRIMARY KEY REFERENCES identities (id) ON DELETE CASCADE,
        password_hash text,
        verified_at timestamptz,
        deactivated_there boolean NOT NULL DEFAULT false
    )
    """,
    """
    CREATE TABLE upstream_syncs (
        issuer text PRIMARY KEY,
        finished_at timestamptz NOT NULL,
        report jsonb NOT NULL
    )
    """,
    """
    CREATE TABLE clients (
        id text PRIMARY KEY,
        name text NOT NULL,
        secret_digest bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE UNIQUE INDEX clients_name_key ON clients (name)",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0006', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
