"""What the tests of keys do over and over: sign in at a replica, read its keys, give it a new one."""

from typing import Any

import jwt

from app.keys import ring
from app.keys.ring import box_of
from tests.kit import SignedIn, log_in, register
from tests.replica import Replica

JWT_SECRET = "Hs7Kd2Lf9Qw4Er8Ty3Ui6Op1As5Dg0Zx"
JWKS = "https://auth.example.test/.well-known/jwks.json"


async def published(replica: Replica) -> list[dict[str, Any]]:
    """The key set."""
    answer = await replica.client.get(JWKS)
    assert answer.status_code == 200, answer.text
    keys: list[dict[str, Any]] = answer.json()["keys"]
    return keys


async def sign_in(replica: Replica) -> SignedIn:
    return await log_in(replica.client, await register(replica.client))


async def status(replica: Replica, session: SignedIn) -> int:
    return (await session.ask("GET", "/me", at=replica.client)).status_code


def kid(session: SignedIn) -> str:
    return str(jwt.get_unverified_header(session.access)["kid"])


async def rotate(replica: Replica) -> str:
    settings = replica.parts.settings
    async with replica.parts.db.transaction() as tx:
        return await ring.rotate(tx, settings.jwt_algorithm, box_of(settings))
