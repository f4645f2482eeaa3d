"""Which tables a migration locks while its transaction lasts, and who waits: read of its SQL, for `migrate --plan`.

A test holds this against what PostgreSQL locks when it runs each of them.
"""

import re
from collections.abc import Iterable, Mapping

# From the weakest; those of ordinary reading and writing, which nobody waits for, are left out.
MODES = ("SHARE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE")
WAITS = {
    "SHARE": "whoever writes to it waits",
    "SHARE ROW EXCLUSIVE": "whoever writes to it waits",
    "ACCESS EXCLUSIVE": "everybody who uses it waits",
}
NAME = r'(?:IF (?:NOT )?EXISTS )?(?:ONLY )?"?(\w+)"?'
NEW_TABLE = re.compile(rf"\bCREATE (?:UNLOGGED )?TABLE {NAME}")
NEW_INDEX = re.compile(rf"\bCREATE (?:UNIQUE )?INDEX {NAME} ON {NAME}")
TAKEN = (
    ("SHARE", re.compile(rf"\bCREATE (?:UNIQUE )?INDEX (?:IF NOT EXISTS )?\w+ ON {NAME}")),
    ("SHARE ROW EXCLUSIVE", re.compile(rf"\bREFERENCES {NAME}")),
    ("SHARE ROW EXCLUSIVE", re.compile(rf"\bCREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER \w+ .*? ON {NAME}")),
    ("ACCESS EXCLUSIVE", re.compile(rf"\b(?:ALTER|DROP|LOCK|TRUNCATE) TABLE {NAME}")),
    ("ACCESS EXCLUSIVE", re.compile(rf"\bPARTITION OF {NAME}")),
)
# By these only another migration, a new index or a clean-up is kept waiting.
UNFELT = re.compile(rf"ALTER TABLE {NAME} (?:ALTER (?:COLUMN )?\w+ SET STATISTICS -?\d+|SET \([^()]*\))")
DROPPED_INDEX = re.compile(rf"\bDROP INDEX {NAME}")


def plain(statement: str) -> str:
    """Without comments, literals and the bodies of functions, in single blanks."""
    bare = re.sub(r"\$(\w*)\$.*?\$\1\$", "''", statement, flags=re.DOTALL)
    bare = re.sub(r"--[^\n]*", " ", bare)
    return " ".join(re.sub(r"'(?:[^']|'')*'", "''", bare).split())


def made(statements: Iterable[str]) -> set[str]:
    """The tables that come into being."""
    return {table for statement in statements for table in NEW_TABLE.findall(plain(statement))}


def indexes(statements: Iterable[str]) -> dict[str, str]:
    """The tables of indexes that come into being."""
    return {index: table for statement in statements for index, table in NEW_INDEX.findall(plain(statement))}


def locked(statements: Iterable[str], tables_of_indexes: Mapping[str, str]) -> dict[str, str]:
    """The tables that were there before, and the strongest lock on each that somebody waits for."""
    statements = list(statements)
    found: dict[str, str] = {}
    for statement in map(plain, statements):
        if UNFELT.fullmatch(statement):
            continue
        taken = [(mode, table) for mode, pattern in TAKEN for table in pattern.findall(statement)]
        taken += [("ACCESS EXCLUSIVE", tables_of_indexes.get(name, name)) for name in DROPPED_INDEX.findall(statement)]
        for mode, table in taken:
            found[table] = max(mode, found.get(table, mode), key=MODES.index)
    new = made(statements)
    return {table: found[table] for table in sorted(found) if table not in new}
