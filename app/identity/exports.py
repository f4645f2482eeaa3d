"""Exporting users: all of them, as an import takes them."""

from collections.abc import AsyncGenerator

import msgspec
from msgspec import UNSET

from app.database import Database
from app.identity import bulk_queries
from app.identity.import_lines import ExportLine
from app.identity.queries import entry
from app.sessions.structs import ADMIN

BATCH = 500  # users a statement: some 10 ms of PostgreSQL's time, and as much of the loop's


class Exports:
    def __init__(self, db: Database) -> None:
        self._db = db

    async def pieces(self, *, with_hashes: bool = False) -> AsyncGenerator[tuple[int, bytes]]:
        """Everybody by ascending ids, a line each: how many, and the lines.

        Each piece is of a moment of its own: who comes while it runs is in it, who goes may be.
        """
        last = 0
        while rows := await bulk_queries.after(self._db, last, BATCH):
            last = rows[-1]["id"]
            lines = []
            for row in rows:
                person = entry(row)
                line = ExportLine(
                    username=person.username,
                    email=person.email,
                    full_name=person.full_name,
                    is_admin=ADMIN in person.roles,
                    is_active=person.is_active,
                    roles=person.roles,
                    must_change_password=person.must_change_password,
                    provider=person.provider,
                    id=person.id,
                    email_verified=person.email_verified,
                    mfa_enabled=person.mfa_enabled,
                    created_at=person.created_at,
                    updated_at=person.updated_at,
                    last_login=person.last_login,
                    password_hash=row["password_hash"] if with_hashes else UNSET,
                )
                lines.append(msgspec.json.encode(line))
            yield len(rows), b"\n".join(lines) + b"\n"
