"""What becomes of a database that holds a copy out of a backup: what had ended, or been used, does not live again.

A backup does not know what came after it, so all that can end or be used up is ended; decision 9 says what, and why.
"""

from collections.abc import Mapping
from datetime import datetime

import asyncpg
import msgspec
from msgspec import Struct

from db import incarnation, locks
from db.connection import CONNECT_TIMEOUT
from db.revisions import applied, missing

# Numbers that are not given out again, more than are used between a backup and its return: applications may keep what
# belonged to an id, and readers of the trail how far they have come.
LEAP = 10_000_000
EVENT = "database.restored"

# The tables whose rows are good for one use, or were on their way: gone. For each, what it is called in the report.
EMPTIED: Mapping[str, str] = {
    "one_time_tokens": "links of mails",
    "recovery_codes": "recovery codes",
    "pending_logins": "sign-ins under way",
    "sign_ins": "sign-ins by a provider under way",
    "mail_outbox": "mails that waited",
    "signing_keys": "signing keys",  # one that was replaced because somebody had it would sign again
    "cache_outbox": "changes on their way to Valkey",
}
CHANGED = ("sessions", "totp_secrets", "cache_epoch", "role_table", "audit_events")
# What stays as it was then, old passwords, rights and people among it: a state, which only people can set right.
KEPT = (
    "users",
    "roles",
    "permissions",
    "role_permissions",
    "user_roles",
    "preferences",
    "identities",
    "passkeys",
    "clients",
    "upstream_users",
    "upstream_syncs",
    "spent_challenges",  # a challenge of before is answered no more, whether it is here or not
    "session_census",
    "erasures",
    "audit_retention",
    "activity_progress",
    "activity_counts",
    "activity_slots",
)

LAST = "SELECT max(at) FROM audit_events"
END_SESSIONS = """
UPDATE sessions SET revoked_at = clock_timestamp(), revoked_reason = 'restored'
WHERE revoked_at IS NULL AND expires_at > clock_timestamp()
"""
CHANGES = (
    # A code of the last minute may have been used: those of this step (30 s) and the next are refused.
    "UPDATE totp_secrets SET last_step = greatest(last_step, extract(epoch FROM clock_timestamp())::bigint / 30 + 1)",
    # Numbers that nobody can have counted up to, so that what Valkey and processes remember is of another one.
    "UPDATE cache_epoch SET epoch = greatest(epoch + 1, extract(epoch FROM clock_timestamp())::bigint)",
    "UPDATE role_table SET number = greatest(number + 1, extract(epoch FROM clock_timestamp())::bigint)",
)
SKIP = """
SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, coalesce(last_value, start_value) + $1)
FROM pg_sequences WHERE schemaname = current_schema()
"""


class NotMigrated(Exception):
    """The schema is older than this release."""


class NotCopied(Exception):
    """Nothing shows that the data are a copy."""


class Report(Struct, frozen=True, kw_only=True):
    """What was done."""

    told_by: list[str]  # how the copy was known; empty where it was not
    last_event: datetime | None  # of the audit trail: what was done later is lost
    ended: int  # sessions
    deleted: dict[str, int]  # rows a table


async def restore(database_url: str, *, nothing_lost: bool = False, anyway: bool = False) -> Report:
    """Make a copy into the database, in one transaction.

    Args:
        database_url: by which the owner of the tables connects.
        nothing_lost: end nothing, and only note that it is a copy.
        anyway: also where nothing shows that it is a copy: whoever is signed in is signed out, whatever it is.

    Raises:
        NotMigrated: `gatehouse migrate` has to run first.
        NotCopied: all would be ended, and nothing shows why; or another call was here first.
        asyncpg.InsufficientPrivilegeError: this role does not own the tables.
    """
    connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", locks.MIGRATION)
            if missing(await applied(connection)):
                raise NotMigrated
            told_by = await connection.fetchval(incarnation.DIFFERS)
            if not (told_by or nothing_lost or anyway):
                raise NotCopied
            last_event = await connection.fetchval(LAST)
            ended, deleted = (0, {}) if nothing_lost else await _end_all(connection)
            await connection.execute("SELECT incarnation_begin()")
            details = {"told_by": told_by, "nothing_lost": nothing_lost, "sessions": ended, "deleted": deleted}
            await connection.execute(
                "INSERT INTO audit_events (event, details) VALUES ($1, $2)",
                EVENT,
                msgspec.json.encode(details).decode(),
            )
            return Report(told_by=told_by, last_event=last_event, ended=ended, deleted=deleted)
    finally:
        await connection.close()


async def copied(database_url: str, *, lossless_failover: bool) -> list[str]:
    """By what a migrated database is known to hold a copy; nothing where it does not."""
    connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT)
    try:
        return await incarnation.copied(connection, lossless_failover=lossless_failover)
    finally:
        await connection.close()


async def _end_all(connection: "asyncpg.Connection[asyncpg.Record]") -> tuple[int, dict[str, int]]:
    ended = _rows(await connection.execute(END_SESSIONS))
    deleted = {}
    for table in EMPTIED:
        deleted[table] = _rows(await connection.execute(f"DELETE FROM {table}"))  # noqa: S608 - a name of ours
    for change in CHANGES:
        await connection.execute(change)
    await connection.execute(SKIP, LEAP)
    return ended, deleted


def _rows(status: str) -> int:
    """Of a command's tag: `DELETE 7`."""
    return int(status.rpartition(" ")[2])
