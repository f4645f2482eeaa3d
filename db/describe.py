"""`python -m db.describe [--check]`: docs/schema.md, made of the models.

A test holds the migrated schema against the models, so that what stands there is what an operator finds.
"""

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from sqlalchemy import Column, ForeignKeyConstraint, Index, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, DefaultClause
from sqlalchemy.sql.elements import ClauseElement

from app.models import Model
from db.tables import metadata

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "schema.md"
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
SHORT = {"timestamp with time zone": "timestamptz", "varchar": "text"}  # to PostgreSQL the same

HEAD = """\
# The schema

Made of the models (`app/*/models.py`) by `python -m db.describe`; `make check` says when it is not current. Beside
these tables there are `schema_history` (which migrations have run, and the oldest release that each allows),
`schema_version` (Alembic's own), `incarnation` (where the data were first written), and the views `user_names` (`id`
and `username` of `users`) and `user_languages` (`user_id` and `language` of `preferences`).
"""


def document() -> str:
    """The whole page."""
    tables = sorted(metadata.tables.values(), key=lambda table: table.name)
    parts = [HEAD, diagram(tables), *(section(table) for table in tables)]
    return "\n".join(parts)


def diagram(tables: list[Table]) -> str:
    """The foreign keys, as Mermaid draws them."""
    lines = [f"    {table.name}" for table in tables]
    lines += [
        f'    {key.referred_table.name} ||--o{{ {table.name} : "{", ".join(key.column_keys)}"'
        for table in tables
        for key in _foreign_keys(table)
    ]
    return "\n".join(["```mermaid", "erDiagram", *lines, "```", ""])


def section(table: Table) -> str:
    """What there is to say of a table."""
    lines = [f"## {table.name}", "", _docstring(table), ""]
    if partition := table.dialect_options["postgresql"]["partition_by"]:
        lines += [f"Partitioned by `{partition}`.", ""]
    lines += ["| column | type | null | default |", "| --- | --- | --- | --- |"]
    lines += [_row(column) for column in table.columns]
    keys = ", ".join(column.name for column in table.primary_key)
    lines += ["", f"- primary key `({keys})`"]
    lines += [f"- {_words(key)}" for key in _foreign_keys(table)]
    lines += [f"- `{_definition(index)}`" for index in sorted(table.indexes, key=lambda index: str(index.name))]
    return "\n".join([*lines, ""])


def _docstring(table: Table) -> str:
    return next(cleandoc(m.class_.__doc__ or "") for m in Model.registry.mappers if m.local_table is table)


def _row(column: "Column[object]") -> str:
    kind = column.type.compile(dialect=DIALECT).lower()
    return f"| `{column.name}` | {SHORT.get(kind, kind)} | {'yes' if column.nullable else 'no'} | {_default(column)} |"


def _default(column: "Column[object]") -> str:
    if column.identity is not None:
        return "the next number" + (", always" if column.identity.always else "")
    default = column.server_default
    if not isinstance(default, DefaultClause):
        return ""
    return f"`{default.arg.compile(dialect=DIALECT) if isinstance(default.arg, ClauseElement) else default.arg}`"


def _foreign_keys(table: Table) -> Iterator[ForeignKeyConstraint]:
    yield from sorted(table.foreign_key_constraints, key=lambda key: ", ".join(key.column_keys))


def _words(key: ForeignKeyConstraint) -> str:
    refers = ", ".join(element.target_fullname for element in key.elements)
    rules = (
        f"on {event} {rule.lower()}" for event, rule in (("delete", key.ondelete), ("update", key.onupdate)) if rule
    )
    return " ".join([f"`({', '.join(key.column_keys)})` refers to `{refers}`:", ", ".join(rules) or "no action"])


def _definition(index: Index) -> str:
    return str(CreateIndex(index).compile(dialect=DIALECT)).removeprefix("CREATE ")


def main(words: list[str]) -> None:
    """Write the page; with `--check` only see whether it is as it would be written.

    Raises:
        SystemExit: it is not; 1, with a line that says so.
    """
    text = document()
    if "--check" not in words:
        DOCUMENT.write_text(text, encoding="utf-8")
    elif not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
        raise SystemExit(f"{DOCUMENT.relative_to(ROOT)} is not current: run `python -m db.describe`")


if __name__ == "__main__":
    main(sys.argv[1:])
