"""The keys of access tokens: published, signing, changed, retired; and never in clear where others could read them."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from httpx import AsyncClient

from app.cli.embedded import Postgres
from app.database import Database
from app.keys import queries, ring
from app.keys.controllers import KEEP_SECONDS
from app.keys.ring import Ring, box_of
from app.keys.secrets import Box, NotOurs
from tests.conftest import TEMPLATE, settings_for
from tests.keys.conftest import Replica, Start
from tests.kit import SignedIn, from_ip, log_in, new_name, problem, register

NEW_SECRET = "Zq4Xw8Ec2Rv6Tb0Yn5Um9Ik3Ol7Pj1Hg"
JWT_SECRET = "Hs7Kd2Lf9Qw4Er8Ty3Ui6Op1As5Dg0Zx"
JWKS = "https://auth.example.test/.well-known/jwks.json"
METADATA = "https://auth.example.test/.well-known/oauth-authorization-server"
NEVER = 3600.0


async def sign_in(replica: Replica) -> SignedIn:
    return await log_in(replica.client, await register(replica.client))


async def status(replica: Replica, session: SignedIn) -> int:
    return (await session.ask("GET", "/me", at=replica.client)).status_code


def kid(session: SignedIn) -> str:
    return str(jwt.get_unverified_header(session.access)["kid"])


def public_claims(session: SignedIn, key: Any, algorithm: str) -> dict[str, Any]:
    """What a verifier sees who has nothing but the published key."""
    audience = "https://auth.example.test"
    claims: dict[str, Any] = jwt.decode(
        session.access, key, algorithms=[algorithm], audience=audience, issuer="https://auth.example.test"
    )
    return claims


async def until(holds: Callable[[], Any]) -> None:
    """Wait for a reload of the keys, which tells nobody."""
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.01)


# ---- what verifiers read ------------------------------------------------------------------------------------------


async def test_the_key_set_holds_public_halves_named_by_their_thumbprint(client: AsyncClient) -> None:
    answer = await client.get(JWKS)

    assert answer.headers["cache-control"] == "public, max-age=10"
    assert answer.headers["content-type"] == "application/json"
    (key,) = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    members = {name: key[name] for name in sorted(("kty", "crv", "x", "y"))}  # RFC 7638 §3.2
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    assert key["kid"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def test_the_metadata_says_where_everything_is(client: AsyncClient) -> None:
    answer = await client.get(METADATA)

    assert answer.json() == {
        "issuer": "https://auth.example.test",
        "token_endpoint": "https://auth.example.test/api/auth/v2/login",
        "jwks_uri": JWKS,
        "response_types_supported": [],
        "grant_types_supported": ["password"],
        "token_endpoint_auth_methods_supported": ["none"],
    }
    assert (await client.get(answer.json()["jwks_uri"])).status_code == 200


async def test_the_token_endpoint_of_the_metadata_grants_tokens(client: AsyncClient) -> None:
    person = await register(client)
    form = {"grant_type": "password", "username": person.username, "password": person.password}
    endpoint = (await client.get(METADATA)).json()["token_endpoint"]

    assert (await client.post(endpoint, data=form, headers=from_ip())).json()["token_type"] == "bearer"


async def test_without_the_password_grant_the_metadata_offers_none(start: Start) -> None:
    replica = await start(password_grant=False)

    assert (await replica.client.get(METADATA)).json()["grant_types_supported"] == []


# ---- algorithms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "kty"), [("ES256", "EC"), ("EdDSA", "OKP"), ("RS256", "RSA")])
async def test_anybody_can_verify_a_token_by_the_key_set(start: Start, algorithm: str, kty: str) -> None:
    replica = await start(jwt_algorithm=algorithm)
    session = await sign_in(replica)

    header = jwt.get_unverified_header(session.access)
    (key,) = await replica.published()

    assert header == {"alg": algorithm, "typ": "at+jwt", "kid": key["kid"]}
    assert (key["kty"], key["alg"]) == (kty, algorithm)
    assert not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & set(key)
    assert public_claims(session, jwt.PyJWK(key), algorithm)["sub"] == str(session.user_id)
    assert await status(replica, session) == 200


async def test_hs256_signs_by_the_shared_secret_and_publishes_nothing(start: Start) -> None:
    replica = await start(jwt_algorithm="HS256", jwt_secret=JWT_SECRET)
    session = await sign_in(replica)

    assert await replica.published() == []
    assert jwt.get_unverified_header(session.access)["alg"] == "HS256"
    assert public_claims(session, JWT_SECRET, "HS256")["sub"] == str(session.user_id)
    assert await status(replica, session) == 200
    assert await replica.parts.db.fetch("SELECT FROM signing_keys") == []


async def test_replicas_of_two_algorithms_serve_each_others_tokens_at_once(start: Start) -> None:
    """As while JWT_ALGORITHM is being changed."""
    old = await start()
    before = await sign_in(old)

    new = await start(jwt_algorithm="EdDSA")
    after = await sign_in(new)

    assert [await status(old, after), await status(new, before)] == [200, 200]
    assert {key["alg"] for key in await old.published()} == {"ES256", "EdDSA"}
    assert jwt.get_unverified_header((await before.refreshed(old.client)).access)["alg"] == "ES256"
    assert jwt.get_unverified_header((await before.refreshed(new.client)).access)["alg"] == "EdDSA"


# ---- the first one ------------------------------------------------------------------------------------------------


async def test_replicas_that_start_at_once_make_one_key(own_database: str, valkey_url: str) -> None:
    settings = settings_for(own_database, valkey_url)
    databases = [Database(own_database, 2) for _ in range(6)]
    rings = [Ring(db, settings) for db in databases]
    await asyncio.gather(*(db.start() for db in databases))

    await asyncio.gather(*(each.start() for each in rings))

    key_sets = [each.jwks()["keys"] for each in rings]
    assert all(keys == key_sets[0] for keys in key_sets)
    assert {each.signing().kid for each in rings} == {key["kid"] for key in key_sets[0]}
    assert len(key_sets[0]) == 1
    await asyncio.gather(*(each.stop() for each in rings))
    await asyncio.gather(*(db.stop() for db in databases))


async def test_until_there_is_a_key_nobody_is_told_that_there_is_none(
    start: Start, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verifier would take an empty key set for the truth, and refuse every token."""
    name = new_name("later")
    replica = await start(database_url=postgres.url(name))
    problem(await replica.client.get(JWKS), 503, "unavailable")

    postgres.create_database(name, template=TEMPLATE)

    async def published() -> bool:
        return (await replica.client.get(JWKS)).status_code == 200

    await until(published)
    assert len(await replica.published()) == 1


async def test_keys_that_an_operator_has_deleted_are_replaced(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "RELOAD_INTERVAL", 0.02)
    replica = await start()
    stolen = await sign_in(replica)

    await replica.parts.db.execute("DELETE FROM signing_keys")

    async def replaced() -> bool:
        answer = await replica.client.get(JWKS)
        return answer.status_code == 200 and kid(stolen) not in answer.text

    await until(replaced)
    assert await status(replica, stolen) == 401
    assert await status(replica, await sign_in(replica)) == 200


# ---- rotation -----------------------------------------------------------------------------------------------------


async def rotate(replica: Replica) -> str:
    settings = replica.parts.settings
    return await ring.rotate(replica.parts.db, settings.jwt_algorithm, box_of(settings))


async def test_a_new_key_is_published_before_it_signs_and_the_old_one_stays_good(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "RELOAD_INTERVAL", 0.02)
    one, other = await start(), await start()
    before = await sign_in(one)

    new = await rotate(one)

    async def both_published() -> bool:
        return [{key["kid"] for key in await each.published()} for each in (one, other)] == [{kid(before), new}] * 2

    await until(both_published)
    meanwhile = await before.refreshed(one.client)
    assert kid(meanwhile) == kid(before)

    await one.parts.db.execute("UPDATE signing_keys SET signing_from = clock_timestamp() WHERE kid = $1", new)

    async def signs() -> bool:
        return [kid(await sign_in(each)) for each in (one, other)] == [new, new]

    await until(signs)
    for session in (before, meanwhile, await before.refreshed(other.client)):
        assert [await status(each, session) for each in (one, other)] == [200, 200]


def test_a_new_key_signs_after_every_replica_and_verifier_has_seen_it() -> None:
    assert KEEP_SECONDS + ring.RELOAD_INTERVAL < ring.PUBLISH_SECONDS


async def test_a_replica_looks_for_a_key_that_it_does_not_know(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "RELOAD_INTERVAL", NEVER)
    old, newer = await start(), await start()
    new = await rotate(newer)
    await newer.parts.db.execute("UPDATE signing_keys SET signing_from = clock_timestamp() WHERE kid = $1", new)
    await newer.parts.ring._load()

    for _ in range(3):  # the second time it has looked just now
        session = await sign_in(newer)
        assert kid(session) == new
        assert await status(old, session) == 200


def forged(session: SignedIn, name: str) -> dict[str, str]:
    """A token of the same shape, by a key that nobody has."""
    header = {"alg": "ES256", "typ": "at+jwt", "kid": name}
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return {"Authorization": f"Bearer {encoded}.{session.access.partition('.')[2]}"}


async def test_forged_names_of_keys_do_not_make_us_look_each_time(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await start()
    session = await sign_in(replica)
    looks = 0
    all_keys = queries.all_keys

    async def counted(db: Any) -> Any:
        nonlocal looks
        looks += 1
        return await all_keys(db)

    monkeypatch.setattr(queries, "all_keys", counted)
    answers = await asyncio.gather(
        *(replica.client.get("/me", headers=forged(session, f"forged-{number}")) for number in range(50))
    )

    for answer in answers:
        problem(answer, 401, "invalid_token")
    assert looks <= 4  # one for the first, one for the others, and perhaps the keeper's


async def test_a_key_that_cannot_be_looked_for_is_no_proof_of_a_bad_token(
    start: Start, postgres: Postgres, own_database: str
) -> None:
    replica = await start()
    session = await sign_in(replica)
    assert await status(replica, session) == 200

    postgres.sql(f'DROP DATABASE "{own_database.rpartition("/")[2]}" WITH (FORCE)')

    answers = await asyncio.gather(
        *(replica.client.get("/me", headers=forged(session, f"new-{number}")) for number in range(5))
    )
    for answer in [*answers, await replica.client.get("/me", headers=forged(session, "new"))]:
        problem(answer, 503, "unavailable")
    assert await status(replica, session) == 200


# ---- SECRET_KEY ---------------------------------------------------------------------------------------------------


async def sealed(replica: Replica) -> dict[str, bytes]:
    rows = await replica.parts.db.fetch("SELECT kid, private_key FROM signing_keys")
    return {row["kid"]: row["private_key"] for row in rows}


SECRETS: dict[str, Callable[[Any], bytes]] = {
    "ES256": lambda private: private.private_numbers().private_value.to_bytes(32, "big"),
    "EdDSA": lambda private: private.private_bytes_raw(),
    "RS256": lambda private: private.private_numbers().d.to_bytes(256, "big"),
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
    assert {key["kid"] for key in await new.published()} == {kid(session), kid(fresh)}
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


# ---- keys of other releases, and the end of a key -----------------------------------------------------------------


async def test_a_key_that_a_newer_release_has_made_does_not_stop_an_older_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "RELOAD_INTERVAL", 0.02)
    running = await start()
    await running.parts.db.execute(
        "INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, signing_from) "
        """VALUES ('new', 'ML-DSA-87', '{"kty": "AKP", "alg": "ML-DSA-87", "pub": "x"}', '', clock_timestamp())"""
    )
    started = await start()

    new = await rotate(started)

    async def seen() -> bool:
        return new in {key["kid"] for key in await running.published()}

    await until(seen)
    assert await status(running, await sign_in(started)) == 200


@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        # Seconds since each key signs, by name and algorithm; a token lives 1000 seconds here.
        ({"only": ("ES256", 999_999)}, {"only"}),
        ({"old": ("ES256", 5000), "new": ("ES256", 1001)}, {"new"}),
        ({"old": ("ES256", 5000), "new": ("ES256", 990)}, {"old", "new"}),
        ({"old": ("ES256", 5000), "next": ("ES256", -20)}, {"old", "next"}),
        ({"older": ("ES256", 9000), "old": ("ES256", 5000), "new": ("ES256", 990)}, {"old", "new"}),
        ({"older": ("ES256", 9000), "old": ("ES256", 1001), "next": ("ES256", -20)}, {"old", "next"}),
        # Another algorithm may be in use for a day by replicas that were not restarted yet.
        ({"old": ("ES256", 50_000), "new": ("EdDSA", 40_000)}, {"old", "new"}),
        ({"old": ("ES256", 500_000), "new": ("EdDSA", 90_000)}, {"new"}),
    ],
)
async def test_a_key_is_deleted_once_none_of_its_tokens_can_be_alive(
    start: Start, keys: dict[str, tuple[str, int]], kept: set[str]
) -> None:
    db = (await start(jwt_algorithm="HS256", jwt_secret=JWT_SECRET)).parts.db
    for name, (algorithm, seconds) in keys.items():
        await db.execute(
            "INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, signing_from) "
            "VALUES ($1, $2, '{}', '', clock_timestamp() - make_interval(secs => $3))",
            name,
            algorithm,
            float(seconds),
        )

    async with db.transaction() as tx:
        deleted = await queries.delete_retired(tx, 1000.0)

    assert {row["kid"] for row in await db.fetch("SELECT kid FROM signing_keys")} == kept
    assert deleted == len(keys) - len(kept)
