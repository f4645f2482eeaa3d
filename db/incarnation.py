"""Whether a database holds the data that were written there, or a copy of them; without SQLAlchemy: every poll asks.

A row notes where it was written: the cluster (its system identifier), the database and the table (their oids), the
timeline of the WAL and the transaction. However a dump is brought back, one of them is another (decision 9).
"""

from collections.abc import Sequence

from db.connection import Connection

SCHEMA = "schema"  # is older than the table: nobody can tell
TIMELINE = "timeline"
RECOVERY = "recovery"  # a replica, or a server that is still being recovered
ROW = "row"  # was written by another transaction, or is not there (yet)
DIFFERS = "SELECT incarnation_differs()"
HINT = (
    "its data are a copy (a backup that was restored, a replica that took over): run `gatehouse restored` as the owner "
    "of the tables, or `gatehouse restored --nothing-lost` if nothing is missing; until then every answer is 503"
)
REPLICA = (
    "it is a replica, or still being recovered: DATABASE_URL has to lead to the primary; until then every answer is 503"
)
OLD = "its schema is older than this release: run `gatehouse migrate`; until then every answer is 503"


class Unfit(Exception):
    """Why a database must not be used, and what to do about it."""

    def __init__(self, told_by: Sequence[str]) -> None:
        self.detail = f"PostgreSQL cannot be used ({', '.join(told_by)}): {hint(told_by)}"
        super().__init__(self.detail)


def told_by(differs: Sequence[str], *, lossless_failover: bool) -> list[str]:
    """By what a copy is known, of what `incarnation_differs()` has found; nothing where there is none."""
    return [each for each in differs if not (lossless_failover and each == TIMELINE)]


def hint(told_by: Sequence[str]) -> str:
    """What to do about it."""
    if RECOVERY in told_by:
        return REPLICA
    return OLD if SCHEMA in told_by else HINT


async def copied(connection: Connection, *, lossless_failover: bool) -> list[str]:
    """By what a migrated database is known to hold a copy; nothing where it does not."""
    return told_by(await connection.fetchval(DIFFERS), lossless_failover=lossless_failover)
