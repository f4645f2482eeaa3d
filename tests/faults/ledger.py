"""The last look: what PostgreSQL holds once nobody can change it any more."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import asyncpg


@dataclass
class SessionRow:
    id: str
    user: str
    generation: int
    reason: str | None  # none: it has not been revoked


@dataclass
class UserRow:
    id: int
    username: str
    full_name: str | None
    is_active: bool
    is_admin: bool


@dataclass
class AuditRow:
    id: int
    event: str
    user_id: int | None
    session_id: str | None
    request_id: str | None
    details: dict[str, Any]


@dataclass
class Ledger:
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    users: dict[str, UserRow] = field(default_factory=dict)  # by username
    preferences: dict[tuple[str, str], object] = field(default_factory=dict)  # by username and key
    audit: list[AuditRow] = field(default_factory=list)  # in the order of their ids

    def by_request(self) -> dict[str, list[AuditRow]]:
        rows: dict[str, list[AuditRow]] = defaultdict(list)
        for row in self.audit:
            if row.request_id:
                rows[row.request_id].append(row)
        return rows

    def by_session(self) -> dict[str, list[AuditRow]]:
        rows: dict[str, list[AuditRow]] = defaultdict(list)
        for row in self.audit:
            if row.session_id:
                rows[row.session_id].append(row)
        return rows


async def look(connection: "asyncpg.Connection[asyncpg.Record]") -> Ledger:
    sessions = await connection.fetch(
        """
        SELECT s.id::text, u.username, s.generation, s.revoked_reason
        FROM sessions s JOIN users u ON u.id = s.user_id
        """
    )
    users = await connection.fetch(
        """
        SELECT id, username, full_name, is_active,
               EXISTS (SELECT FROM user_roles r WHERE r.user_id = u.id AND r.role = 'admin') AS is_admin
        FROM users u
        """
    )
    preferences = await connection.fetch(
        "SELECT u.username, p.key, p.value FROM preferences p JOIN users u ON u.id = p.user_id"
    )
    audit = await connection.fetch(
        "SELECT id, event, user_id, session_id::text, request_id, details FROM audit_events ORDER BY id"
    )
    return Ledger(
        {row["id"]: SessionRow(*row) for row in sessions},
        {row["username"]: UserRow(*row) for row in users},
        {(row["username"], row["key"]): json.loads(row["value"]) for row in preferences},
        [AuditRow(**{**row, "details": json.loads(row["details"])}) for row in audit],
    )
