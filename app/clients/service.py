"""Clients: other services that may ask about tokens. The operator makes them by the command line."""

import hashlib
import hmac
import secrets
import unicodedata

import msgspec
import structlog

from app import base64url
from app.cache.entries import Entries
from app.clients import queries
from app.clients.structs import NewClient, RegisteredClient
from app.database import Database
from app.errors import Conflict, InvalidClient, NotFound, ValidationFailed

log = structlog.get_logger(__name__)

CLIENT_KIND = "c"
TABLE_KEY = f"{CLIENT_KIND}:table"
ID_PREFIX, ID_BYTES = "ghc_", 16
SECRET_PREFIX, SECRET_BYTES = "ghcs_", 32  # a fixed beginning lets secret scanners find leaked ones
LONGEST_NAME = 64  # characters
MOST = 1000  # clients: all of them are one entry of the cache, of some 60 bytes each

NOBODYS = bytes(32)  # what the secret of an unknown client is compared with: no text is known that has this digest

Digests = dict[str, bytes]
_decode = msgspec.msgpack.Decoder(Digests).decode


def digest(secret: str) -> bytes:
    """SHA-256, fast and without salt: of 256 random bits nobody can try even a part, however fast he is."""
    return hashlib.sha256(secret.encode()).digest()


class Clients:
    """Registers clients and knows them again.

    All that a process needs to know is one entry of the cache: an unknown client is found out like a known one, without
    SQL, no request can fill the cache with ids, and while PostgreSQL is away clients are known as sessions are.
    """

    def __init__(self, db: Database, entries: Entries) -> None:
        self._db = db
        self._entries = entries
        self._snapshot = b""
        self._digests: Digests = {}

    async def add(self, name: str) -> NewClient:
        """A client with a secret that is told now and never again; every replica knows it when this returns.

        Raises:
            ValidationFailed: the name is no name.
            Conflict: it is taken, or there are as many clients as there may be.
        """
        name = unicodedata.normalize("NFC", name)
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
            raise ValidationFailed(
                ("name", f"has to be 1 to {LONGEST_NAME} characters that print, no blank around them")
            )
        if name.startswith(ID_PREFIX):
            raise ValidationFailed(("name", f"must not begin with {ID_PREFIX}, as ids do"))
        client_id = ID_PREFIX + base64url.encode(secrets.token_bytes(ID_BYTES))
        secret = SECRET_PREFIX + base64url.encode(secrets.token_bytes(SECRET_BYTES))
        async with self._db.transaction() as tx:
            if not await queries.add(tx, client_id, name, digest(secret), MOST):
                taken = await queries.is_taken(tx, name)
                raise Conflict("There is a client of this name." if taken else f"There are {MOST} clients already.")
            change = await self._entries.outbox.announce(tx, [TABLE_KEY])
        await self._entries.outbox.settle(change)
        return NewClient(client_id=client_id, client_secret=secret)

    async def remove(self, name_or_id: str) -> RegisteredClient:
        """Remove a client; when this returns no replica takes its secret any more.

        Raises:
            NotFound: there is none.
        """
        async with self._db.transaction() as tx:
            row = await queries.remove(tx, unicodedata.normalize("NFC", name_or_id))
            if row is None:
                raise NotFound("There is no client of this name or id.")
            change = await self._entries.outbox.announce(tx, [TABLE_KEY])
        await self._entries.outbox.settle(change)
        return RegisteredClient(**row)

    async def everyone(self) -> list[RegisteredClient]:
        return [RegisteredClient(**row) for row in await queries.everyone(self._db)]

    async def authenticate(self, client_id: str, secret: str) -> None:
        """Nothing slow and nothing written, whoever asks: there is no need to count who fails at 256 bits.

        Raises:
            InvalidClient: it is not its secret, or nobody's.
            Unavailable: neither store can tell.
        """
        found = await self._entries.get((TABLE_KEY,))
        digests = await self._read(found[TABLE_KEY] or b"")
        matches = hmac.compare_digest(digest(secret), digests.get(client_id, NOBODYS))
        if not matches or client_id not in digests:
            raise InvalidClient

    async def _read(self, raw: bytes) -> Digests:
        """The table of this snapshot, which is the last one's but after a change; that is worth a line in the log."""
        if raw == self._snapshot and raw:
            return self._digests
        try:
            digests = _decode(raw)
        except msgspec.MsgspecError:  # nothing of ours
            raw = await self._entries.renew(TABLE_KEY, raw)
            digests = _decode(raw)
        if self._snapshot:
            log.info(
                "clients.changed",
                added=sorted(digests.keys() - self._digests.keys()),
                removed=sorted(self._digests.keys() - digests.keys()),
            )
        self._snapshot, self._digests = raw, digests
        return digests
