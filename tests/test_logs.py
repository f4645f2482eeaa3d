"""Log lines: one event each, as JSON or for people, and no local variable in any of them."""

import json
import subprocess
import sys

import pytest

from app import logs

SCRIPT = """
import logging
import structlog
from app import logs
from app.settings import Settings

logs.configure(Settings(log_format={format!r}, log_level="warning"))
logs.configure(Settings(log_format={format!r}, log_level="warning"))  # again, as a worker that is started anew
logs.request_id.set("the-id")
log = structlog.get_logger("app")
log.info("too.quiet")
log.warning("one\\nevent", path="/a\\nb")
logging.getLogger("library").warning("said %s", "this")
password = "hunter" + "2"
try:
    raise ValueError("a fault")
except ValueError as error:
    log.error("request.failed", exc_info=error)
    logging.getLogger("library").exception("failed")
"""


def logged(log_format: str) -> str:
    script = SCRIPT.format(format=log_format)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


def test_everything_is_a_line_of_json_also_what_libraries_say() -> None:
    lines = [json.loads(line) for line in logged("json").splitlines()]

    assert [(line["event"], line["level"]) for line in lines] == [
        ("one\nevent", "warning"),
        ("said this", "warning"),
        ("request.failed", "error"),
        ("failed", "error"),
    ]
    assert {line["request_id"] for line in lines} == {"the-id"}
    assert lines[1]["logger"] == "library"
    for line in lines[2:]:
        assert line["exception"].endswith("ValueError: a fault")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_local_variable_is_shown(log_format: str) -> None:
    text = logged(log_format)

    assert "ValueError: a fault" in text
    assert "hunter2" not in text
    assert "too.quiet" not in text


UNREAD = """
import io
import logging
import sys
import structlog
from app import logs
from app.settings import Settings

logs.configure(Settings(log_format="json"))
log = structlog.get_logger("app")
log.warning("heard")
kept, sys.stderr = sys.stderr, io.StringIO()
sys.stderr.close()
log.error("lost")
logging.getLogger("library").error("lost too")
sys.stderr = kept
log.warning("heard again")
"""


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    """Tasks that say something once a second must not stop because nobody listens."""
    done = subprocess.run([sys.executable, "-c", UNREAD], capture_output=True, text=True, check=True)

    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["heard", "heard again"]


def test_standard_error_is_not_the_logs_to_close(capsys: pytest.CaptureFixture[str]) -> None:
    log = logs.StandardError()

    log.close()

    assert not log.closed
    log.write("said at the end\n")
    assert capsys.readouterr().err == "said at the end\n"
