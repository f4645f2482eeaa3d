"""SECRET_KEY seals what is kept: never in clear, changed without harm, and lost with little."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from app.cli.embedded import Postgres
from app.keys.secrets import Box, NotOurs
from tests.keys.kit import JWT_SECRET, kid, published, rotate, sign_in, status
from tests.replica import Replica, Start

NEW_SECRET = "Zq4Xw8Ec2Rv6Tb0Yn5Um9Ik3Ol7Pj1Hg"


async def sealed(replica: Replica) -> dict[str, bytes]:
    rows = await replica.parts.db.fetch("SELECT kid, private_key FROM signing_keys")
    return {row["kid"]: row["private_key"] for row in rows}


SECRETS: dict[str, Callable[[Any], bytes]] = {
    "ES256": lambda private: private.private_numbers().private_value.to_bytes(32, "big"),
    "EdDSA": lambda private: private.private_bytes_raw(),
    "RS256": lambda private: private.private_numbers().d.to_bytes(384, "big"),
}


async def test_the_private_half_is_nowhere_in_the_database_in_clear(start: Start, postgres: Postgres) -> None:
    for algorithm in ("ES256", "EdDSA", "RS256"):
        replica = await start(jwt_algorithm=algorithm)
        private: Any = replica.parts.ring.signing().private
        secret = SECRETS[algorithm](private)
        (row,) = await replica.parts.db.fetch("SELECT * FROM signing_keys WHERE algorithm = $1", algorithm)

        kept = b"".join(value if isinstance(value, bytes) else str(value).encode() for value in row.values())
        assert secret[1:] not in kept
        assert base64.urlsafe_b64encode(secret)[:20] not in kept
        with pytest.raises(ValueError, match=r"deserialize|ASN"):
            load_der_private_key(row["private_key"], password=None)


async def test_a_changed_secret_seals_the_same_key_anew(start: Start) -> None:
    old = await start()
    session = await sign_in(old)
    before = await sealed(old)

    during = await start(secret_key=NEW_SECRET, secret_key_previous=old.parts.settings.secret_key)
    after = await start(secret_key=NEW_SECRET)

    resealed = await sealed(after)
    assert set(resealed) == set(before) == {kid(session)}
    assert resealed != before
    for replica in (old, during, after):
        assert await status(replica, session) == 200
        assert kid(await sign_in(replica)) == kid(session)
    assert kid(await session.refreshed(during.client)) == kid(session)


async def test_a_lost_secret_makes_a_new_key_and_the_old_tokens_live_on(start: Start) -> None:
    old = await start()
    session = await sign_in(old)

    new = await start(secret_key=NEW_SECRET)

    fresh = await sign_in(new)
    assert kid(fresh) != kid(session)
    assert {key["kid"] for key in await published(new)} == {kid(session), kid(fresh)}
    for replica in (old, new):
        assert [await status(replica, each) for each in (session, fresh)] == [200, 200]


async def test_a_private_half_in_the_place_of_another_one_is_not_used(start: Start) -> None:
    replica = await start()
    good = kid(await sign_in(replica))
    spare = await rotate(replica)
    await replica.parts.db.execute(
        "UPDATE signing_keys SET private_key = (SELECT private_key FROM signing_keys WHERE kid = $1), "
        "signing_from = clock_timestamp() WHERE kid = $2",
        good,
        spare,
    )

    assert kid(await sign_in(await start())) == good


def test_what_is_sealed_opens_for_its_own_purpose_name_and_secret_alone() -> None:
    box = Box("signing keys", NEW_SECRET)
    kept = box.seal(b"plain", "name")

    assert box.open(kept, "name") == b"plain"
    assert box.seal(b"plain", "name") != kept
    assert Box("signing keys", JWT_SECRET, NEW_SECRET).open(kept, "name") == b"plain"
    assert not Box("signing keys", JWT_SECRET, NEW_SECRET).is_current(kept)
    for other, name in (
        (box, "another name"),
        (Box("refresh tokens", NEW_SECRET), "name"),
        (Box("signing keys", JWT_SECRET), "name"),
    ):
        with pytest.raises(NotOurs):
            other.open(kept, name)
    for broken in (b"", kept[:4], kept[:10], kept[:16], kept[:-1], kept[:-1] + bytes([kept[-1] ^ 1]), kept + b"x"):
        with pytest.raises(NotOurs):
            box.open(broken, "name")
