"""What users are searched by: closer estimates of how many a search finds, and indexes that answer by themselves.

The oldest release that works on this schema: 0.1.0.

The planner guesses how many from as many words as it keeps: of a hundred, each stands for a hundredth of all users. It
has them when the table is next analyzed: by autovacuum, or by whoever does not wait for that. Here it would be a second
of a million, in the transaction of all migrations, where others may keep everybody out.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STATEMENTS = [
    # 1,500 logins of a million users change a tenth of the pages, for which an index with the words does not answer by
    # itself; to clean up takes two seconds.
    "ALTER TABLE users SET (autovacuum_vacuum_scale_factor = 0.001, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_insert_scale_factor = 0.001)",
    "ALTER TABLE users ALTER COLUMN words SET STATISTICS 400",
    "INSERT INTO schema_history (revision, oldest_release) VALUES ('0013', '0.1.0')",
]


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
