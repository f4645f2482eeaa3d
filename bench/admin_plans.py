"""By what our statements find their rows: PostgreSQL's own log of their plans, while each case is asked once."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import asyncpg

from bench import admin_cases
from bench.admin_stores import Service
from bench.load import Connection
from bench.looking import ask
from bench.stack import say

LOGGED = (
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=0",
    "auto_explain.log_format=json",
    "auto_explain.log_analyze=on",
    "auto_explain.log_timing=off",
    "auto_explain.log_nested_statements=on",
    "log_line_prefix=%a|",
)
GROWING = re.compile(
    r"users|sessions|identities|passkeys|audit_events_[a-z0-9]+|user_roles|upstream_users|preferences|totp_secrets"
    r"|recovery_codes|activity_(?:counts|slots)"
)
ENTRY = re.compile(r"^(?P<who>[^|\n]*)\|LOG: +duration: [\d.]+ ms  plan:\n(?P<plan>(?:\t.*\n)+)", re.MULTILINE)
FEW = 1_000  # rows: a table that has no more is rightly read as a whole, an empty month of the audit among them
BESIDE = ("WITH agents AS",)  # the census, which counts all sessions now and then (app/sessions/census.py)
WIDE = 50_000  # rows that one statement looks at: what is more is shown


async def plans(service: Service, only: Sequence[str]) -> bool:
    """Whether no statement of a request reads a table that grows from its beginning to its end."""
    token = (await service.administrator()).access_token
    connection = await asyncpg.connect(service.database_url)
    cases = await admin_cases.everything(connection, service.cursors, only)
    await connection.close()
    client = await Connection(service.urls[0]).open()
    await client.get("/sessions", token)  # waits for the census, which counts all sessions
    scans: Counter[tuple[str, str, str]] = Counter()
    wide: dict[tuple[str, str], int] = {}
    statements = 0
    with service.postgres_log.open() as log:
        log.seek(0, 2)
        for case in cases:
            await ask((client,), token, case.path, 1)
            for who, explained in _entries(log.read()):
                statements += 1
                query = " ".join(explained["Query Text"].split())
                if query.startswith(BESIDE):
                    continue
                rows = 0
                for node in _nodes(explained["Plan"]):
                    rows = max(rows, _rows(node))
                    if node["Node Type"] == "Seq Scan" and GROWING.fullmatch(node["Relation Name"]):
                        scans[who, node["Relation Name"], query[:160]] += _rows(node) > FEW
                if rows > WIDE:
                    wide[who, query[:160]] = max(rows, wide.get((who, query[:160]), 0))
    client.close()
    say(
        f"{len(cases)} requests, {statements} statements, sequential scans of tables that grow: {scans.total()} (aim 0)"
    )
    for (who, table, query), number in (+scans).most_common():
        say(f"  {number} of {table}, by {who}: {query}")
    for (who, query), rows in sorted(wide.items(), key=lambda each: -each[1])[:12]:
        say(f"  {rows:,} rows looked at, by {who}: {query}")
    return not scans.total()


def _entries(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in ENTRY.finditer(text):
        yield entry["who"], json.loads(entry["plan"])


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _rows(node: Mapping[str, Any]) -> int:
    """That it found or looked at in vain."""
    removed = sum(node.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck", "Join Filter"))
    return int((node.get("Actual Rows", 0) + removed) * node.get("Actual Loops", 1))
