"""What a migration may not do by the way, because the release before still runs, and what to do instead.

A migration that means to says so in its docstring, a line a rule: `On purpose, drop: no release since 1.2.0 reads it.`
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from db.locking import NAME, indexes, made, plain

ON_PURPOSE = re.compile(r"^On purpose, (\w+): \S.+", re.MULTILINE)
VOLATILE = r"(?:now|clock_timestamp|statement_timestamp|random|gen_random_uuid|uuidv7|nextval)\("
NOTED = re.compile(r"INSERT INTO schema_history \(revision, oldest_release\) VALUES \('(\d+)', '(\d+\.\d+\.\d+)'\)")


@dataclass(frozen=True)
class Rule:
    name: str
    pattern: re.Pattern[str]
    instead: str


def rule(name: str, pattern: str, instead: str) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE), instead)


# Of a table that was there before.
RULES = (
    rule(
        "drop",
        r"\bDROP (?:TABLE|VIEW|COLUMN|CONSTRAINT|FUNCTION|SEQUENCE|TYPE)\b|\bDROP INDEX (?!.*_idx\b)|\bTRUNCATE\b"
        rf"|ALTER TABLE {NAME} DROP \w",
        "the release before may use it: stop using it in one release and drop it in the next, whose oldest_release is "
        "the one that stopped",
    ),
    rule(
        "slow",
        r"\bDROP INDEX .*_idx\b",
        "the release before may find its rows by it, and reads all of them meanwhile: stop using it in one release and "
        "drop it in the next, or say what it finds them by",
    ),
    rule(
        "rename",
        r"\bRENAME (?:TO|COLUMN|CONSTRAINT|\w+ TO)\b|\bSET SCHEMA\b",
        "the release before knows the old name: add the new one beside it, write both, and drop the old one in a later "
        "release",
    ),
    rule(
        "tighten",
        r"\bSET NOT NULL\b|\bADD (?:COLUMN )?(?:IF NOT EXISTS )?\w+ (?:(?!\bDEFAULT\b|\bGENERATED\b)[^,;])*\bNOT NULL\b"
        r"(?![^,;]*\b(?:DEFAULT|GENERATED)\b)",
        "the release before does not fill it: ADD COLUMN … NOT NULL DEFAULT …, or leave it nullable until no release "
        "that runs leaves it out",
    ),
    rule(
        "retype",
        r"\bALTER (?:COLUMN )?\w+ (?:SET DATA )?TYPE\b",
        "it rewrites the table under a lock that everybody waits for, and the release before expects the old type: add "
        "a column, write both, and drop the old one in a later release",
    ),
    rule(
        "rewrite",
        rf"\bADD (?:COLUMN )?(?:IF NOT EXISTS )?\w+ [^;]*(?:\bSTORED\b|\bGENERATED (?:ALWAYS|BY DEFAULT) AS IDENTITY\b"
        rf"|\bDEFAULT {VOLATILE})|\bSET (?:LOGGED|UNLOGGED)\b|\b(?:CLUSTER|VACUUM FULL)\b",
        "it rewrites the table under a lock that everybody waits for: add the column with a constant default, or none, "
        "and fill it in batches",
    ),
    rule(
        "validate",
        r"\bADD (?:CONSTRAINT \w+ )?(?:CHECK|FOREIGN KEY|UNIQUE|PRIMARY KEY)\b(?!.*\bNOT VALID\b)(?!.*\bUSING INDEX\b)",
        "it reads the whole table under a lock: ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in a later "
        "migration; UNIQUE by an index that was made before",
    ),
    rule(
        "rows",
        r"^(?:WITH\b.*)?(?:UPDATE|DELETE FROM)\b",
        "all rows of a table in the transaction of all migrations: leave it to the service, in batches, or a default",
    ),
)
# Whatever it concerns.
TRANSACTION = rule(
    "transaction",
    r"\b(?:COMMIT|ROLLBACK|CONCURRENTLY|lock_timeout|statement_timeout)\b",
    "migrations run in one transaction with a lock_timeout of db/migrations/env.py's",
)
INDEX = (
    "an index on a table that was there before keeps its writers waiting: CREATE INDEX IF NOT EXISTS, so that who has "
    "millions of rows makes it beforehand by CREATE INDEX CONCURRENTLY, and say so in the docstring"
)


def faults(revision: str, docstring: str, statements: Sequence[str], before: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a migration; `before` are the oldest releases that the migrations before it allow."""
    meant = set(ON_PURPOSE.findall(docstring))
    new = made(statements)
    new |= {index for index, table in indexes(statements).items() if table in new}
    found: set[str] = set()
    for statement in map(plain, statements):
        if TRANSACTION.pattern.search(statement):
            yield f"{statement[:80]}: {TRANSACTION.instead}"
        if _of(statement) in new:
            continue
        for each in RULES:
            if each.pattern.search(statement):
                found.add(each.name)
                if each.name not in meant:
                    yield f"{statement[:80]} ({each.name}): {each.instead}"
        if re.search(r"\bCREATE (?:UNIQUE )?INDEX\b", statement):
            ready = "IF NOT EXISTS" in statement and "CONCURRENTLY" in docstring
            if not ready and "index" not in meant:
                yield f"{statement[:80]} (index): {INDEX}"
            found |= set() if ready else {"index"}
    for name in sorted(meant - found):
        yield f"the docstring has a line `On purpose, {name}`, and nothing that needs it"
    yield from _noted(
        revision, docstring, statements, before, contracts=bool(meant & found & {"drop", "rename", "retype"})
    )


def _of(statement: str) -> str:
    """What a statement is about."""
    found = re.search(
        rf"\b(?:TABLE|INDEX (?:IF NOT EXISTS )?\w+ ON|DROP INDEX|UPDATE|DELETE FROM|INSERT INTO) {NAME}", statement
    )
    return found[1] if found else ""


def _noted(
    revision: str, docstring: str, statements: Sequence[str], before: Mapping[str, str], *, contracts: bool
) -> Iterator[str]:
    """The oldest release that still works is written down, last, and no older than what a contraction needs."""
    last = NOTED.fullmatch(" ".join(statements[-1].split())) if statements else None
    if last is None or last[1] != revision:
        yield f"its last statement has to be INSERT INTO schema_history … VALUES ('{revision}', '<oldest release>')"
        return
    if f"The oldest release that works on this schema: {last[2]}." not in docstring:
        yield f"the docstring has to say: The oldest release that works on this schema: {last[2]}."
    numbers, newest = _numbers(last[2]), max(map(_numbers, before.values()), default=(0,))
    if numbers < newest:
        yield f"{last[2]} does not work on the migrations before this one"
    if contracts and before and numbers <= newest:
        yield "what is taken away, some release still used: oldest_release has to be the first that does not"


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))
