"""Where the data were first written, so that a copy of them out of a backup is known for one.

The oldest release that works on this schema: 0.1.0.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = [
    """
    CREATE TABLE incarnation (
        singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
        cluster text NOT NULL,
        database bigint NOT NULL,
        relation bigint NOT NULL,
        timeline text NOT NULL,
        written_in bigint NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    # What of it a server does not tell (some hosted ones keep it to themselves, a replica has no timeline yet) is ''.
    """
    CREATE FUNCTION incarnation_here() RETURNS incarnation
    LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        here incarnation;
    BEGIN
        here.database := (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database());
        here.relation := 'incarnation'::regclass::oid;
        BEGIN
            here.cluster := (SELECT system_identifier::text FROM pg_catalog.pg_control_system());
        EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
            here.cluster := '';
        END;
        BEGIN -- of the name of a WAL file the first eight digits are its timeline
            here.timeline := left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8);
        EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR object_not_in_prerequisite_state THEN
            here.timeline := '';
        END;
        RETURN here;
    END
    $$
    """,
    """
    CREATE FUNCTION incarnation_differs() RETURNS text[]
    LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        here incarnation := incarnation_here();
        kept incarnation;
        written bigint;
    BEGIN
        SELECT * INTO kept FROM incarnation;
        SELECT xmin::text::bigint INTO written FROM incarnation;
        RETURN array_remove(ARRAY[
            -- a replica is behind, however lossless it takes over
            CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'recovery' END,
            -- '' is not known, on either side
            CASE WHEN nullif(kept.cluster, '') <> nullif(here.cluster, '') THEN 'cluster' END,
            CASE WHEN kept.database IS DISTINCT FROM here.database THEN 'database' END,
            CASE WHEN kept.relation IS DISTINCT FROM here.relation THEN 'table' END,
            CASE WHEN nullif(kept.timeline, '') <> nullif(here.timeline, '') THEN 'timeline' END,
            CASE WHEN kept.written_in IS NULL OR kept.written_in IS DISTINCT FROM written THEN 'row' END
        ], NULL);
    END
    $$
    """,
    # By whoever may write the table. The second statement notes the transaction (xmin) of the first: its own as well.
    """
    CREATE FUNCTION incarnation_begin() RETURNS void
    LANGUAGE sql AS $$
        DELETE FROM incarnation;
        INSERT INTO incarnation (cluster, database, relation, timeline, written_in)
        SELECT cluster, database, relation, timeline, 0 FROM incarnation_here();
        UPDATE incarnation SET written_in = xmin::text::bigint;
    $$
    """,
    # the names in a function are those of this schema, whatever the caller's search_path says
    """
    DO $$
    DECLARE
        function text;
    BEGIN
        FOREACH function IN ARRAY ARRAY['incarnation_here()', 'incarnation_differs()', 'incarnation_begin()'] LOOP
            EXECUTE 'ALTER FUNCTION ' || function || ' SET search_path = ' || quote_ident(current_schema()) || ', pg_temp';
        END LOOP;
    END
    $$
    """,
    "SELECT incarnation_begin()",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0011', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
