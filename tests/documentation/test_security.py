"""docs/security.md: each requirement has its row, what it lists is what there is, and the check of it can fail."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from app.factors import recovery_codes
from app.identity.password_strength import CONTEXT
from app.proofs.tokens import Purpose
from app.setting_values import Rate
from app.settings import Settings
from tests import security_table
from tests.documentation.document import OPERATIONS, contents

ROOT = security_table.PAGE.parents[1]
PAGE = security_table.PAGE.read_text(encoding="utf-8")
SOURCES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "app").rglob("*.py"))}
CRYPTOGRAPHY = {
    "argon2",
    "bcrypt",
    "cryptography",
    "hashlib",
    "hmac",
    "joserfc",
    "jwt",
    "pyotp",
    "random",
    "secrets",
    "webauthn",
}
KEYED = {"Box": 0, "OpaqueTokens": 1, "derive": 1}  # what takes a key's purpose, and which argument it is


def imports(tree: ast.AST) -> set[str]:
    """The packages that a module imports."""
    found = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    found += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in found}


# ---- the page ------------------------------------------------------------------------------------------------------


def test_each_requirement_has_a_row_that_names_a_test_or_says_why_there_is_none() -> None:
    assert security_table.flaws(PAGE) == []


def test_each_test_that_is_named_is_there() -> None:
    named = security_table.TEST.findall(PAGE)
    defined = {file: functions(ROOT / file) for file in {test.partition("::")[0] for test in named}}

    assert len(named) > 100
    assert [test for test in named if function_of(test) not in defined[test.partition("::")[0]]] == []


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def function_of(test: str) -> str:
    return test.partition("[")[0].rpartition("::")[2]


def test_every_limit_is_on_the_page_with_its_default() -> None:
    limits = {field.name: field.default for field in fields(Settings) if isinstance(field.default, Rate)}
    assert len(limits) >= 5
    for name, rate in limits.items():
        assert isinstance(rate, Rate)
        window = f"{rate.seconds // 60}m" if rate.seconds % 3600 else f"{rate.seconds // 3600}h"
        assert f"`{name.upper()}` | {rate.limit}/{window} |" in PAGE
    assert f"`MFA_CODES_PER_LOGIN` | {Settings.mfa_codes_per_login} |" in PAGE


def test_every_way_to_tokens_is_on_the_page() -> None:
    ways = {
        f"`{operation.method} {operation.path.removeprefix('/api/auth/v2')}`"
        for operation in OPERATIONS
        for status, _, content in contents(operation)
        if status == "200" and content["schema"].get("$ref", "").endswith("/TokenResponse")
    }

    _, _, section = PAGE.partition("\n### Ways in\n")
    assert len(ways) >= 4
    assert set(re.findall(r"^\| (`POST [^`]+`) \|", section.partition("\n### ")[0], re.MULTILINE)) == ways


def test_how_long_a_session_lives_is_on_the_page() -> None:
    assert f"`REFRESH_TOKEN_EXPIRE_DAYS` | {Settings.refresh_token_expire_days} |" in PAGE
    assert f"`ACCESS_TOKEN_EXPIRE_MINUTES` | {Settings.access_token_expire_minutes} |" in PAGE
    assert f"`SESSIONS_PER_USER` | {Settings.sessions_per_user} |" in PAGE


def test_the_words_that_no_password_is_made_of_are_on_the_page() -> None:
    assert f"`{CONTEXT}`" in PAGE


def test_how_many_bits_a_recovery_code_has_is_on_the_page() -> None:
    bits = recovery_codes.GROUP * recovery_codes.GROUPS * 5  # base32
    rows = {row.number: row for row in security_table.rows(PAGE)}

    assert len(recovery_codes.ALPHABET) == 2**5
    assert rows["V6.5.4"].where == str(bits)
    assert f"| recovery codes | SHA-256 of {bits} random bits |" in PAGE


def test_the_purpose_of_every_key_is_in_the_inventory() -> None:
    """A call without a purpose written out passes one on."""
    purposes: set[str] = set()
    for tree in SOURCES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYED:
                purpose = node.args[KEYED[node.func.id]]
                if isinstance(purpose, ast.Constant):
                    purposes.add(str(purpose.value))
                elif isinstance(purpose, ast.JoinedStr):
                    purposes |= {f"one-time tokens {each}" for each in Purpose}

    assert len(purposes) >= 9
    assert {purpose for purpose in purposes if f"`{purpose}`" not in PAGE} == set()


def test_every_package_that_does_cryptography_is_in_the_inventory() -> None:
    used = set().union(*map(imports, SOURCES.values())) & CRYPTOGRAPHY

    assert {name for name in used if f"`{name}`" not in PAGE} == set()


# ---- what the page says of all of app/ ---------------------------------------------------------------------------


def test_no_weak_hash_is_called_by_name() -> None:
    called = {
        node.attr
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hashlib"
    }

    assert "sha256" in called
    assert called <= {"sha256", "sha384", "sha512", "scrypt", "pbkdf2_hmac"}


def test_what_nobody_may_guess_is_not_made_by_the_module_random() -> None:
    """Only the edge uses what can be foreseen in it, for the ids of requests, which are no secrets."""
    foreseeable = set()
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) and "random" in {alias.name for alias in node.names}:
                foreseeable.add(path.name)
            if isinstance(node, ast.ImportFrom) and node.module == "random":
                assert [alias.name for alias in node.names] == ["SystemRandom"], path

    assert foreseeable == {"edge.py"}


# ---- the check by a run ------------------------------------------------------------------------------------------

TESTS = """
import pytest

def test_good(): pass

def test_bad(): assert False

def test_left_out(): pytest.skip("not today")

@pytest.mark.parametrize("word", ["one two", "three"])
def test_with(word): assert word == "three"

class TestOne:
    def test_in_a_class(self): pass
"""


HEAD = "| # | asks | where | shown by |\n| --- | --- | --- | --- |\n"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run over two workers, in which some fail."""
    directory = tmp_path_factory.mktemp("run")
    (directory / "tests").mkdir()
    (directory / "tests/test_some.py").write_text(TESTS)
    words = [
        "-p",
        "xdist",
        "--numprocesses",
        "2",
        "--import-mode=importlib",
        "--rootdir",
        ".",
        "--junitxml",
        "report.xml",
    ]
    command = [sys.executable, "-m", "pytest", *words, "tests"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # it starts in a tenth of the time
    run = subprocess.run(command, cwd=directory, env=environment, capture_output=True, check=False)
    assert run.returncode == 1, run.stdout
    return directory / "report.xml"


def of(*tests: str) -> str:
    """The page of this service, and one row more."""
    return f"{PAGE}\n{HEAD}| X 1 | it | here | {', '.join(tests)} |\n"


@pytest.mark.parametrize(
    "test",
    [
        "tests/test_some.py::test_good",
        "tests/test_some.py::test_with[three]",
        "tests/test_some.py::TestOne::test_in_a_class",
    ],
)
def test_what_has_passed_is_proven(report: Path, test: str) -> None:
    page = f"{HEAD}| X 1 | it | here | `{test}` |\n"

    assert security_table.unproven(page, security_table.outcomes(report)) == []


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("tests/test_some.py::test_bad", "did not pass"),
        ("tests/test_some.py::test_left_out", "did not pass"),
        ("tests/test_some.py::test_with", "did not pass"),
        ("tests/test_some.py::test_with[one two]", "did not pass"),
        ("tests/test_some.py::test_with[four]", "is not among the tests that ran"),
        ("tests/test_some.py::test_of_nothing", "is not among the tests that ran"),
        ("tests/test_other.py::test_good", "is not among the tests that ran"),
    ],
)
def test_what_did_not_run_and_pass_is_told(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], test: str, reason: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(of("`tests/test_some.py::test_good`", f"`{test}`"))

    assert security_table.main(report, page) == 1

    lines = capsys.readouterr().err.splitlines()
    assert f"page.md: {test}: {reason}" in lines
    assert not [line for line in lines if "::test_good: " in line and "test_some" in line]


def without(number: str) -> str:
    return re.sub(rf"^\| {re.escape(number)} \|.*\n", "", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "flaw"),
    [
        (without("V9.1.1"), "V9.1.1: has no row"),
        (without("RFC 8725 3.1"), "RFC 8725 3.1: has no row"),
        (of("`tests/x.py::test_y`") + of("`tests/x.py::test_y`"), "X 1: has 2 rows"),
        (of("looks good"), "X 1: names no test and no reason"),
        (of("Open: later"), "X 1: is open, and not listed under '## What is not met'"),
        (
            PAGE.replace(f"{security_table.NOT_MET}\n", f"{security_table.NOT_MET}\n\n**V9.1.1**\n"),
            "V9.1.1: is listed under '## What is not met', and its row is not open",
        ),
    ],
)
def test_a_table_that_is_wrong_by_itself_is_told(page: str, flaw: str) -> None:
    assert flaw in security_table.flaws(page)
