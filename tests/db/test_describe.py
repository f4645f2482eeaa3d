"""docs/schema.md: made of the models, and current."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from db import describe
from db.tables import metadata


def test_every_table_and_column_is_described() -> None:
    page = describe.document()

    for table in metadata.tables.values():
        _, _, section = page.partition(f"\n## {table.name}\n")
        section, _, _ = section.partition("\n## ")
        assert re.match(r"\s*[A-Z][^|]+\.\n", section), table.name
        for column in table.columns:
            assert f"| `{column.name}` | " in section
        for index in table.indexes:
            assert f"INDEX {index.name} ON {table.name} " in section


def test_what_matters_of_a_table_is_there() -> None:
    page = describe.document()

    assert '    users ||--o{ sessions : "user_id"' in page
    assert "| `id` | bigint | no | the next number, always |" in page
    assert "| `created_at` | timestamptz | no | `now()` |" in page
    assert "| `email` | text | yes |  |" in page
    assert "- `UNIQUE INDEX users_local_name_key ON users (lower(username)) WHERE provider = 'local'`" in page
    assert "- `(user_id)` refers to `users.id`: on delete cascade" in page
    assert "- primary key `(user_id, key)`" in page
    assert "Partitioned by `RANGE (at)`." in page
    assert "One sign-in on one device" in page


def test_the_page_in_the_repository_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "db.describe", "--check"], cwd=describe.ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("text", [None, "# Another page\n"])
def test_a_page_that_is_not_current_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    page = tmp_path / "docs" / "schema.md"
    page.parent.mkdir()
    if text is not None:
        page.write_text(text)
    monkeypatch.setattr(describe, "ROOT", tmp_path)
    monkeypatch.setattr(describe, "DOCUMENT", page)

    with pytest.raises(SystemExit) as ended:
        describe.main(["--check"])

    assert ended.value.code == "docs/schema.md is not current: run `python -m db.describe`"  # on stderr, and exit 1
    assert not page.exists() or page.read_text() == text
    describe.main([])
    describe.main(["--check"])
