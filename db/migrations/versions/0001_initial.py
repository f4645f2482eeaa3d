"""Accounts, sessions, preferences, roles, keys, audit, and the tables of the cache's rules.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = [
    """
    CREATE TABLE schema_history (
        revision text PRIMARY KEY,
        oldest_release text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE users (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        provider text NOT NULL DEFAULT 'local',
        username text NOT NULL,
        email text,
        email_verified boolean NOT NULL DEFAULT false,
        full_name text,
        password_hash text,
        is_active boolean NOT NULL DEFAULT true,
        must_change_password boolean NOT NULL DEFAULT false,
        mfa_enabled boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        last_login timestamptz
    )
    """,
    "CREATE UNIQUE INDEX users_username_key ON users (provider, lower(username))",
    "CREATE UNIQUE INDEX users_email_key ON users (email)",
    "CREATE INDEX users_created_at_idx ON users (created_at, id)",
    """
    CREATE TABLE roles (
        name text PRIMARY KEY,
        description text NOT NULL DEFAULT '',
        built_in boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE TABLE permissions (name text PRIMARY KEY, description text NOT NULL DEFAULT '')",
    """
    CREATE TABLE role_permissions (
        role text NOT NULL REFERENCES roles (name) ON DELETE CASCADE ON UPDATE CASCADE,
        permission text NOT NULL REFERENCES permissions (name) ON DELETE CASCADE,
        PRIMARY KEY (role, permission)
    )
    """,
    "CREATE INDEX role_permissions_permission_idx ON role_permissions (permission)",
    """
    CREATE TABLE user_roles (
        user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        role text NOT NULL REFERENCES roles (name) ON DELETE CASCADE ON UPDATE CASCADE,
        PRIMARY KEY (user_id, role)
    )
    """,
    "CREATE INDEX user_roles_role_idx ON user_roles (role)",
    "CREATE TABLE role_table (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton), number bigint NOT NULL DEFAULT 1)",
    "INSERT INTO role_table DEFAULT VALUES",
    """
    INSERT INTO permissions (name, description) VALUES
        ('audit:read', 'Read the audit trail and the analytics.'),
        ('roles:write', 'Make, change and hand out roles.'),
        ('sessions:read', 'See who is signed in.'),
        ('sessions:revoke', 'End anybody''s sessions.'),
        ('system:maintain', 'Run the clean-up and see the details of health.'),
        ('users:read', 'See accounts.'),
        ('users:write', 'Make, change and delete accounts.')
    """,
    "INSERT INTO roles (name, description, built_in) VALUES ('admin', 'May do everything.', true)",
    """
    CREATE TABLE sessions (
        id uuid PRIMARY KEY,
        user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        generation integer NOT NULL DEFAULT 0,
        rotated_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz NOT NULL,
        last_accessed timestamptz NOT NULL DEFAULT clock_timestamp(),
        auth_time timestamptz NOT NULL DEFAULT clock_timestamp(),
        amr text[] NOT NULL,
        ip_address inet,
        user_agent text,
        device_name text,
        revoked_at timestamptz,
        revoked_reason text
    ) WITH (fillfactor = 85)
    """,
    "CREATE INDEX sessions_user_id_idx ON sessions (user_id)",
    "CREATE INDEX sessions_ended_at_idx ON sessions (COALESCE(revoked_at, expires_at))",
    """
    CREATE TABLE preferences (
        user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        key text NOT NULL,
        value json NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (user_id, key)
    )
    """,
    """
    CREATE TABLE signing_keys (
        kid text PRIMARY KEY,
        algorithm text NOT NULL,
        public_jwk json NOT NULL,
        private_key bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        signing_from timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE cache_outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE cache_epoch (
        singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
        epoch bigint NOT NULL DEFAULT 0,
        identity text NOT NULL DEFAULT '',
        granted_at timestamptz NOT NULL DEFAULT '-infinity'
    )
    """,
    "INSERT INTO cache_epoch DEFAULT VALUES",
    "CREATE SEQUENCE audit_events_id_seq",
    """
    CREATE TABLE audit_events (
        id bigint NOT NULL DEFAULT nextval('audit_events_id_seq'),
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        event text NOT NULL,
        user_id bigint,
        actor_id bigint,
        session_id uuid,
        ip_address inet,
        user_agent text,
        request_id text,
        details jsonb NOT NULL DEFAULT '{}',
        PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at)
    """,
    "CREATE INDEX audit_events_user_id_idx ON audit_events (user_id, id)",
    "CREATE INDEX audit_events_actor_id_idx ON audit_events (actor_id, id)",
    "CREATE TABLE audit_events_default PARTITION OF audit_events DEFAULT",
    # What other rooms may read of a table, through a view that its owner keeps.
    "CREATE VIEW user_names AS SELECT id, username FROM users",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0001', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
