"""Entries: a truth of PostgreSQL, kept near in Valkey by rules under which it can be missing but never old.

The rules and the counterexample behind each clause stand in docs/decisions/0001-cache.md.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from msgspec import Struct
from valkey.exceptions import ResponseError

from app.cache.batch import Batch
from app.cache.link import Links, ValkeyAway
from app.cache.outbox import Outbox
from app.cache.server import Link
from app.database import Database
from app.errors import Unavailable

log = structlog.get_logger(__name__)

ENTRY_SECONDS = 300  # an entry's life: what a process cut off from both stores' changes could at worst go on serving
LEASE_SECONDS = 10  # a placeholder's life: longer than the read of PostgreSQL that it protects may take
LOOKUPS_A_CALL = 3000  # keys; an MGET of as many takes Valkey about a millisecond
FILLS_A_CALL = 500  # keys; an `= ANY` of as many ids is one index scan of a few milliseconds

SNAPSHOT, PLACEHOLDER = b"=", b"?"  # the first byte of what stands in Valkey

# Take the lease of an entry: what is not of ours (another type, no end of life) or was found old (ARGV[3]) gives way.
LEASE = """
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind ~= 'none' and (kind ~= 'string' or redis.call('PTTL', KEYS[1]) == -1
    or (ARGV[3] ~= '' and redis.call('GET', KEYS[1]) == ARGV[3])) then
  redis.call('DEL', KEYS[1])
end
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2])
"""
# Fill the entry if the lease is still one's own: any deletion since then has ended it.
FILL = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
"""


class Truth(Struct, frozen=True):
    """What PostgreSQL says of a key: the snapshot's bytes, and how long it may be kept."""

    snapshot: bytes  # empty: there is no such thing (any more); that is kept, too
    seconds: float = ENTRY_SECONDS


class Found(dict[str, bytes | None]):
    """Snapshots by key, and which store had them."""

    source = "valkey"


class Leases(Struct, frozen=True):
    """Placeholders that a fill has put into Valkey, by key."""

    epoch: int
    nonces: dict[str, bytes]


Load = Callable[[Sequence[str]], Awaitable[Mapping[str, Truth]]]


class Entries:
    """All entries of a process. Keys are `<kind>:<id>`; a kind's truth is read by the `Load` registered for it."""

    def __init__(
        self,
        database: Database,
        valkey_url: str,
        *,
        strict: bool = False,
        shown: Callable[[Link], Link] = lambda link: link,
        batch: Callable[..., Batch[str, Found]] = Batch,
    ) -> None:
        self.links = Links(valkey_url, database, shown)
        self.outbox = Outbox(database, self.links)
        self._strict = strict
        self._loads: dict[str, Load] = {}
        self._old: dict[str, bytes] = {}  # what was found under a key and is not good, to be replaced by the next fill
        self._lookups = batch(self._look_up, most=LOOKUPS_A_CALL)
        self._fills = batch(self._fill, most=FILLS_A_CALL)

    def register(self, kind: str, load: Load) -> None:
        self._loads[kind] = load

    async def start(self) -> None:
        await self.outbox.start()
        await self.links.start()

    async def stop(self) -> None:
        await self._lookups.stop()
        await self._fills.stop()
        await self.outbox.stop()
        await self.links.stop()

    async def get(self, keys: Sequence[str]) -> Found:
        """The snapshots under these keys; one round trip to Valkey, shared by all who ask at the moment.

        Raises:
            Unavailable: an entry is in neither store, or PostgreSQL is unfit, or (STRICT_REVOCATION) cannot confirm
                what is cached.
        """
        if time.monotonic() >= self.outbox.trusted_until and not await self._trusted():
            return await self._read(keys, {}, keys)
        try:
            found = await self._lookups.get(keys)
        except (ValkeyAway, ResponseError):
            return await self._read(keys, {}, keys)
        pending = self.outbox.pending
        missing = [key for key in keys if found[key] is None]
        if pending:
            missing = [key for key in keys if key in pending or key in missing]
        if not missing:
            return found
        return await self._read(keys, found, missing)

    async def _trusted(self) -> bool:
        """Whether Valkey may be believed, now that the lease has run out.

        The first poll may have begun before this process stood still, and be as old as that (C4); the second begins
        now. While PostgreSQL is away, what is cached stays good unless STRICT_REVOCATION.
        """
        for _ in range(2):
            if not self.outbox.lost:
                await self.outbox.poll()
            if time.monotonic() < self.outbox.trusted_until:
                return True
            if self.outbox.unfit:
                raise Unavailable
        if self.outbox.lost and self._strict:
            raise Unavailable
        return self.outbox.lost

    async def _read(self, keys: Sequence[str], found: Mapping[str, bytes | None], missing: Sequence[str]) -> Found:
        truths = await self._fills.get(missing)
        read = Found({key: truths[key] if key in truths else found[key] for key in keys})
        read.source = "postgres"
        return read

    async def renew(self, key: str, snapshot: bytes) -> bytes:
        """The truth in place of a snapshot that its reader found to be old or not to belong there."""
        self._old[key] = SNAPSHOT + snapshot
        truths = await self._fills.get((key,))
        return truths[key] or b""

    async def forget(self, *keys: str) -> None:
        """Delete entries whose change is no revocation and takes no right; where Valkey is away they just expire."""
        try:
            async with self.links.use() as link:
                await link.delete(keys)
        except (ValkeyAway, ResponseError):
            log.info("cache.not_forgotten", keys=len(keys))

    # ---- calls ----------------------------------------------------------------------------------------------------

    async def _look_up(self, keys: list[str]) -> Found:
        async with self.links.use() as link:
            raws = await link.mget(keys)
        found = Found()
        for key, raw in zip(keys, raws, strict=True):
            if raw is not None and raw[:1] == SNAPSHOT:
                found[key] = raw[1:]
            else:
                found[key] = None
                if raw is not None and raw[:1] != PLACEHOLDER:
                    self._old[key] = raw
        return found

    async def _fill(self, keys: list[str]) -> Found:
        """Read PostgreSQL, and leave what it says in Valkey for the others, each entry under a lease taken before."""
        old = {key: self._old.pop(key, b"") for key in keys}
        leases = Leases(0, {})
        if self.links.current is not None and not self.outbox.lost:
            leases = await self._lease({key: old[key] for key in keys if key not in self.outbox.pending})
        truths = await self._load(keys)
        if leases.nonces:
            await self._swap(leases, truths)
        return Found({key: truth.snapshot for key, truth in truths.items()})

    async def _lease(self, old: Mapping[str, bytes]) -> Leases:
        """Placeholders of ours, acknowledged by Valkey before PostgreSQL is read; a new nonce for every attempt."""
        nonces = {key: PLACEHOLDER + secrets.token_bytes(12) for key in old}
        try:
            async with self.links.use() as link:
                named = {link.key(key): (nonce, old[key]) for key, nonce in nonces.items()}
                taken = await link.run(
                    [
                        (key, ("EVAL", LEASE, 1, key, nonce, LEASE_SECONDS, found_old))
                        for key, (nonce, found_old) in named.items()
                    ]
                )
        except (ValkeyAway, ResponseError):
            return Leases(0, {})
        ours = (answer == b"OK" for answer in taken)
        return Leases(
            link.epoch, {key: nonce for (key, nonce), is_ours in zip(nonces.items(), ours, strict=True) if is_ours}
        )

    async def _swap(self, leases: Leases, truths: Mapping[str, Truth]) -> None:
        try:
            async with self.links.use() as link:
                if link.epoch != leases.epoch:
                    return
                fills = []
                for key, nonce in leases.nonces.items():
                    truth, name = truths[key], link.key(key)
                    life = max(1, round(1000 * min(truth.seconds, ENTRY_SECONDS)))
                    fills.append((name, ("EVAL", FILL, 1, name, nonce, SNAPSHOT + truth.snapshot, life)))
                await link.run(fills)
        except (ValkeyAway, ResponseError):
            return  # the placeholders expire

    async def _load(self, keys: list[str]) -> dict[str, Truth]:
        by_kind: dict[str, list[str]] = {}
        for key in keys:
            kind, _, identifier = key.partition(":")
            by_kind.setdefault(kind, []).append(identifier)
        truths = {}
        for kind, identifiers in by_kind.items():
            found = await self._loads[kind](identifiers)
            for identifier in identifiers:
                truths[f"{kind}:{identifier}"] = found.get(identifier) or Truth(b"")
        return truths
