"""Roll-ups of the audit, indexes to search it by, and the functions that are all that may change it.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = [
    "CREATE INDEX audit_events_event_idx ON audit_events (event, id)",
    "CREATE INDEX audit_events_ip_address_idx ON audit_events (ip_address, id)",
    # ---- roll-ups
    """
    CREATE TABLE activity_progress (
        singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
        folded bigint NOT NULL DEFAULT 0,
        as_of timestamptz
    )
    """,
    "INSERT INTO activity_progress DEFAULT VALUES",
    """
    CREATE TABLE activity_counts (
        slot timestamptz NOT NULL,
        event text NOT NULL,
        reason text NOT NULL,
        count bigint NOT NULL,
        PRIMARY KEY (slot, event, reason)
    )
    """,
    # bit strings of 16 KiB: beside the table whenever they are more than a few bytes, so that the ids are read quickly
    """
    CREATE TABLE activity_slots (
        minutes integer NOT NULL,
        slot timestamptz NOT NULL,
        first_id bigint NOT NULL,
        last_id bigint NOT NULL,
        users bit(131072),
        sessions bit(131072),
        PRIMARY KEY (minutes, slot)
    ) WITH (toast_tuple_target = 128)
    """,
    # ---- what may change the audit, with the rights of whoever migrates
    """
    CREATE TABLE audit_retention (
        singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
        days integer NOT NULL DEFAULT 400
    )
    """,
    "INSERT INTO audit_retention DEFAULT VALUES",
    """
    CREATE FUNCTION audit_blank(person bigint, by_actor boolean, after bigint, most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        last bigint;
    BEGIN
        IF NOT EXISTS (SELECT FROM erasures WHERE user_id = person) OR EXISTS (SELECT FROM users WHERE id = person) THEN
            RETURN NULL;
        END IF;
        EXECUTE '
            WITH batch AS (
                SELECT id, at FROM audit_events WHERE ' || CASE WHEN by_actor THEN 'actor_id' ELSE 'user_id' END || ' = $1
                    AND id > $2 ORDER BY id LIMIT $3
            ), blanked AS (
                UPDATE audit_events a
                SET ip_address = CASE WHEN coalesce(a.actor_id, a.user_id) = $1 THEN NULL ELSE a.ip_address END,
                    user_agent = CASE WHEN coalesce(a.actor_id, a.user_id) = $1 THEN NULL ELSE a.user_agent END,
                    details = CASE WHEN a.user_id = $1 THEN ''{}'' ELSE a.details END
                FROM batch b WHERE a.id = b.id AND a.at = b.at
            )
            SELECT max(id) FROM batch' INTO last USING person, after, least(greatest(most, 1), 10000);
        RETURN last;
    END
    $$
    """,
    """
    CREATE FUNCTION audit_add_month(month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        begins timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
        ends timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
        name text := quote_ident('audit_events_' || to_char(month, 'YYYYMM'));
    BEGIN
        IF to_regclass(name) IS NOT NULL
            OR EXISTS (SELECT FROM audit_events_default WHERE at >= begins AND at < ends)
            OR NOT pg_has_role(session_user, current_user, 'USAGE')
                AND (ends <= now() OR begins > now() + interval '1 year')
        THEN
            RETURN false;
        END IF;
        EXECUTE 'CREATE TABLE ' || name || ' PARTITION OF audit_events FOR VALUES FROM ('
            || quote_literal(begins) || ') TO (' || quote_literal(ends) || ')';
        RETURN true;
    END
    $$
    """,
    """
    CREATE FUNCTION audit_drop_month(month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        ends timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
        found regclass := to_regclass(quote_ident('audit_events_' || to_char(month, 'YYYYMM')));
    BEGIN
        IF month < '0001-01-01' -- to_char writes 2026 BC as it writes 2026
            OR NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = found AND inhparent = 'audit_events'::regclass)
            OR NOT pg_has_role(session_user, current_user, 'USAGE')
                AND ends > now() - make_interval(days => (SELECT days FROM audit_retention))
        THEN
            RETURN false;
        END IF;
        EXECUTE 'DROP TABLE ' || found;
        RETURN true;
    END
    $$
    """,
    """
    CREATE FUNCTION audit_delete_old(days integer, most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        kept integer := days;
        deleted integer;
    BEGIN
        IF NOT pg_has_role(session_user, current_user, 'USAGE') THEN
            kept := greatest(kept, (SELECT r.days FROM audit_retention r));
        END IF;
        DELETE FROM audit_events_default e
        USING (SELECT id, at FROM audit_events_default ORDER BY id LIMIT least(most, 10000)) AS o
        WHERE e.id = o.id AND e.at = o.at AND e.at < now() - make_interval(days => kept);
        GET DIAGNOSTICS deleted = ROW_COUNT;
        RETURN deleted;
    END
    $$
    """,
    # the names in a function are those of this schema, whatever the caller's search_path says
    """
    DO $$
    DECLARE
        function text;
    BEGIN
        FOREACH function IN ARRAY ARRAY[
            'audit_blank(bigint, boolean, bigint, integer)', 'audit_add_month(date)', 'audit_drop_month(date)',
            'audit_delete_old(integer, integer)'
        ] LOOP
            EXECUTE 'ALTER FUNCTION ' || function || ' SET search_path = ' || quote_ident(current_schema()) || ', pg_temp';
            EXECUTE 'REVOKE ALL ON FUNCTION ' || function || ' FROM PUBLIC';
        END LOOP;
    END
    $$
    """,
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0010', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
