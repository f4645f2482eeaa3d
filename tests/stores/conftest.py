"""Commands that run in this process, as in tests/cli."""

from tests.cli.conftest import here, run

__all__ = ["here", "run"]
