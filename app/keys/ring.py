"""The signing keys of a process: loaded from PostgreSQL, looked after in the background."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import asyncpg
import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from jwt.algorithms import get_default_algorithms
from msgspec import Struct

from app import base64url
from app.background import end
from app.database import Database, Transaction
from app.errors import Unavailable
from app.keys import queries
from app.keys.queries import NewKey
from app.keys.secrets import Box, NotOurs
from app.settings import Settings

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Public = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

log = structlog.get_logger(__name__)

RELOAD_INTERVAL = 5.0  # seconds between two looks at the table
UNKNOWN_INTERVAL = 0.1  # seconds between two looks because of tokens whose key is not known
PUBLISH_SECONDS = 20.0  # a new key is published as long before it signs: four looks of every replica
RSA_BITS = 3072  # 128 bits of security (NIST SP 800-57 part 1, table 2)
HMAC_KID = "shared"


class KeyState(Struct, frozen=True, kw_only=True):
    """A key as its row stands: it `signs`, will do so `soon`, only `verifies`, or is `sealed` by a key we lack."""

    kid: str
    algorithm: str
    state: Literal["signs", "soon", "verifies", "sealed"]
    signs_from: datetime


class Key:
    """A key that verifies, and signs if its private half is at hand."""

    def __init__(
        self,
        kid: str,
        algorithm: str,
        public: Public | bytes,
        private: Private | bytes | None,
        jwk: Mapping[str, Any] | None,
    ) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.public = public
        self.private = private
        self.jwk = jwk
        self._signer = jwt.get_algorithm_by_name(algorithm)
        self._headers: dict[str, str] = {}

    def sign(self, typ: str, payload: bytes) -> str:
        """A signed token in compact form (RFC 7515 §7.1); `jwt.encode` would write the same header for each anew."""
        header = self._headers.get(typ)
        if header is None:
            fields = {"alg": self.algorithm, "kid": self.kid, "typ": typ}
            header = self._headers[typ] = base64url.encode(msgspec.json.encode(fields))
        signed = f"{header}.{base64url.encode(payload)}"
        return f"{signed}.{base64url.encode(self._signer.sign(signed.encode(), self.private))}"


class Ring:
    """The keys of the moment. With HS256 the key is JWT_SECRET, shared with whoever verifies, and nothing is stored."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._algorithm = settings.jwt_algorithm
        self._box = box_of(settings)
        self._keys: dict[str, Key] = {}
        self._signs_from: list[tuple[float, Key]] = []  # monotonic times, ascending
        self._unreadable: set[str] = set()
        self._looked_at = 0.0  # when the last look began, on the monotonic clock
        self._in_vain = False  # it failed
        self._looking = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        if settings.jwt_algorithm == "HS256":
            secret = settings.jwt_secret.encode()
            shared = Key(HMAC_KID, "HS256", secret, secret, None)
            self._keys = {HMAC_KID: shared}
            self._signs_from = [(0.0, shared)]

    @property
    def _stored(self) -> bool:
        return self._algorithm != "HS256"

    async def start(self) -> None:
        """Load the keys; make the first if there is none. PostgreSQL may be away: then the keeper goes on trying."""
        if self._stored:
            try:
                await self._ensure()
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("keys.not_loaded", reason=repr(error)[:200])
            self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        await end(self._keeper)

    def signing(self) -> Key:
        """The newest key whose time has come.

        Raises:
            Unavailable: no key could be loaded yet.
        """
        now = time.monotonic()
        for signs_from, key in reversed(self._signs_from):
            if signs_from <= now:
                return key
        raise Unavailable

    @property
    def age_seconds(self) -> float:
        """How long the newest key signs; 0 while none does, and with HS256, whose key only the operator changes."""
        since = [signs_from for signs_from, _ in self._signs_from if signs_from <= time.monotonic()]
        return time.monotonic() - since[-1] if self._stored and since else 0.0

    async def verifying(self, kid: str) -> Key | None:
        """The key of this name, or None if there is none; what we do not know may be newer than we are.

        Raises:
            Unavailable: there was no way to find out.
        """
        if kid not in self._keys and self._stored:
            await self._look_for_unknown()
        return self._keys.get(kid)

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """RFC 7517 §5; with HS256 it is empty, for the key is a secret.

        Raises:
            Unavailable: no key could be loaded yet; a verifier would take an empty set for the truth.
        """
        if not self._keys:
            raise Unavailable
        return {"keys": [dict(key.jwk) for key in self._keys.values() if key.jwk is not None]}

    async def states(self) -> list[KeyState]:
        """What there is, newest first; with HS256 nothing is stored."""
        rows = await queries.all_keys(self._db) if self._stored else []
        now, found, signing = datetime.now(UTC), [], False
        state: Literal["signs", "soon", "verifies", "sealed"]
        for row in reversed(rows):
            if not _opens(self._box, row):
                state = "sealed"
            elif row["algorithm"] != self._algorithm or signing:
                state = "verifies"
            else:
                state = "soon" if row["signs_in"] > 0 else "signs"
            signing |= state == "signs"
            signs_from = now + timedelta(seconds=row["signs_in"])
            found.append(KeyState(kid=row["kid"], algorithm=row["algorithm"], state=state, signs_from=signs_from))
        return found

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(RELOAD_INTERVAL if self._signs_from else 0.25)
            try:
                await (self.look() if self._signs_from else self._ensure())
            except (Unavailable, asyncpg.PostgresError):
                continue

    async def _ensure(self) -> None:
        await ensure(self._db, self._algorithm, self._box)
        await self.look()

    async def look(self) -> None:
        """Know the keys of this moment."""
        async with self._looking:
            await self._look()

    async def _look_for_unknown(self) -> None:
        """One look that begins after the question, for all who ask until then: names can be forged without end."""
        asked = time.monotonic()
        async with self._looking:
            if self._looked_at < asked:
                await asyncio.sleep(max(0.0, self._looked_at + UNKNOWN_INTERVAL - time.monotonic()))
                await self._look()
            elif self._in_vain:
                raise Unavailable

    async def _look(self) -> None:
        self._looked_at = time.monotonic()
        self._in_vain = True
        rows = await queries.all_keys(self._db)
        keys: dict[str, Key] = {}
        signs_from = []
        for row in rows:
            key = await self._key(row["kid"], row["algorithm"], row["public_jwk"], row["private_key"])
            if key is not None:
                keys[key.kid] = key
                if key.private is not None and key.algorithm == self._algorithm:
                    signs_from.append((self._looked_at + row["signs_in"], key))
        self._keys, self._signs_from = keys, signs_from
        self._in_vain = False

    async def _key(self, kid: str, algorithm: str, jwk: str, sealed: bytes) -> Key | None:
        """The key of a row; None if a newer release made it in a way that this one does not know."""
        if kid in self._keys:
            return self._keys[kid]
        document = msgspec.json.decode(jwk)
        try:
            public = jwt.PyJWK(document, algorithm).key
        except jwt.PyJWTError as error:
            if kid not in self._unreadable:
                self._unreadable.add(kid)
                log.warning("keys.not_understood", kid=kid, reason=str(error))
            return None
        try:
            private = cast("Private", load_der_private_key(self._box.open(sealed, kid), password=None))
        except NotOurs:
            log.warning("keys.cannot_be_opened", kid=kid, hint="set SECRET_KEY_PREVIOUS to the SECRET_KEY before")
            return Key(kid, algorithm, public, None, document)
        if not self._box.is_current(sealed):
            await queries.reseal(self._db, kid, sealed, self._box.seal(self._box.open(sealed, kid), kid))
        return Key(kid, algorithm, public, private, document)


def box_of(settings: Settings) -> Box:
    return Box("signing keys", settings.secret_key, settings.secret_key_previous)


async def ensure(db: Database, algorithm: str, box: Box) -> None:
    """Make a key that signs at once, unless there is one of this algorithm that can be opened."""
    async with db.transaction() as tx:
        await queries.lock(tx)
        if not any(_opens(box, row) for row in await queries.all_keys(tx) if row["algorithm"] == algorithm):
            await queries.add(tx, _new(algorithm, box), signs_in=0.0)


async def rotate(tx: Transaction, algorithm: str, box: Box) -> str:
    """Publish a new key, which signs in PUBLISH_SECONDS; the old one verifies until its last token has expired."""
    await queries.lock(tx)
    others = [row for row in await queries.all_keys(tx) if row["algorithm"] == algorithm and _opens(box, row)]
    signs_in = PUBLISH_SECONDS if others else 0.0
    new = _new(algorithm, box)
    await queries.add(tx, new, signs_in=signs_in)
    return new.kid


def _opens(box: Box, row: asyncpg.Record) -> bool:
    try:
        box.open(row["private_key"], row["kid"])
    except NotOurs:
        return False
    return True


def _new(algorithm: str, box: Box) -> NewKey:
    private: Private
    if algorithm == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
    elif algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = rsa.generate_private_key(65537, RSA_BITS)
    jwk = public_jwk(algorithm, private.public_key())
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return NewKey(jwk["kid"], algorithm, msgspec.json.encode(jwk).decode(), box.seal(der, jwk["kid"]))


def public_jwk(algorithm: str, public: Public) -> dict[str, Any]:
    """The public half as RFC 7517 has it, named by its thumbprint (RFC 7638)."""
    to_jwk = cast("Any", get_default_algorithms()[algorithm]).to_jwk
    full = to_jwk(public, as_dict=True)
    jwk = {name: full[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in full}
    digest = hashlib.sha256(msgspec.json.encode(jwk, order="sorted")).digest()
    return {**jwk, "kid": base64url.encode(digest), "alg": algorithm, "use": "sig"}
