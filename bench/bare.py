"""The reference of the hot path: a Litestar handler that answers the same Struct, without middleware or injection."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from litestar import Litestar, get

from app.cli.server import Server
from app.identity.structs import User

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
USER = User(
    id=1,
    username="user-0",
    email=None,
    email_verified=False,
    full_name=None,
    is_admin=False,
    is_active=True,
    roles=[],
    permissions=[],
    mfa_enabled=False,
    provider="local",
    must_change_password=False,
    created_at=NOW,
    updated_at=NOW,
    last_login=NOW,
)


@get("/me")
async def me() -> User:
    return USER


def create() -> Litestar:
    return Litestar([me], openapi_config=None)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Server(
            "bench.bare:create",
            "127.0.0.1",
            int(sys.argv[1]),
            1,
            draining=Path(directory) / "draining",
            drain_seconds=0,
            stop_seconds=1,
        ).run()


if __name__ == "__main__":
    main()
