"""An access token that a service has made and that has expired: one's own, and no other, can be made by its key."""

import asyncio
import json
import urllib.request
from collections.abc import Mapping

import jwt

from app import settings
from app.database import Database
from app.keys.ring import Ring
from bench.stack import BASE, refuse


def expired_token(environment: Mapping[str, str], url: str) -> str:
    """Of the administrator, who signs in for it."""
    said = {"username": environment["ADMIN_USERNAME"], "password": environment["ADMIN_PASSWORD"]}
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        f"{url}{BASE}/login", json.dumps(said).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        token: str = json.load(answer)["access_token"]
    return asyncio.run(_aged(token, environment))


async def _aged(token: str, environment: Mapping[str, str]) -> str:
    """The same, made a life and a second ago."""
    chosen = settings.load(environment, None)
    db = Database(chosen.database_url, 1)
    await db.start()
    ring = Ring(db, chosen)
    try:
        await ring.start()
        key = ring.signing()
    finally:
        await ring.stop()
        await db.stop()
    if key.private is None:
        refuse("the signing key cannot be opened")
    claims = jwt.decode(token, options={"verify_signature": False})
    age = claims["exp"] - claims["iat"] + 1
    for claim in ("iat", "nbf", "exp", "auth_time"):
        claims[claim] -= age
    return jwt.encode(claims, key.private, key.algorithm, {"typ": "at+jwt", "kid": key.kid})
