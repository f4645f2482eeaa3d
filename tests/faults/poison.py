"""Entries that nobody of ours has written: what a careless operator or another program may leave in Valkey.

Only what a reader can tell from a truth: a snapshot of the same key from an hour ago is none of it, for nothing but
the rules keeps that out, and these are what is tested.
"""

import asyncio
import random
from collections.abc import Sequence

import msgspec
from valkey.asyncio import Valkey

SPOILED = 20  # keys a round
ROUND_SECONDS = 0.1
SNAPSHOT = b"="


async def spoil(client: Valkey, dice: random.Random, seconds: float) -> None:
    """Round after round, a few entries each."""
    for _ in range(max(1, round(seconds / ROUND_SECONDS))):
        keys = [
            key async for key in client.scan_iter(match="gatehouse:*", count=1000) if key.split(b":")[2] in (b"s", b"u")
        ]
        for key in dice.sample(keys, min(SPOILED, len(keys))):
            await _spoil_one(client, dice, key, keys)
        await asyncio.sleep(ROUND_SECONDS)


async def _spoil_one(client: Valkey, dice: random.Random, key: bytes, keys: Sequence[bytes]) -> None:
    kind = dice.choice(("list", "hash", "garbage", "broken", "placeholder", "number", "stranger"))
    if kind in ("list", "hash"):  # in one step, or a fill may come between the two
        pipe = client.pipeline(transaction=True)
        pipe.delete(key)
        pipe.execute_command("RPUSH" if kind == "list" else "HSET", key, "not", "ours")
        await pipe.execute()
    elif kind == "garbage":
        await client.set(key, dice.randbytes(24), ex=60)
    elif kind == "broken":
        await client.set(
            key, SNAPSHOT + b"\xc1" + dice.randbytes(8)
        )  # 0xc1 begins nothing in msgpack; and no end of life
    elif kind == "placeholder":
        await client.set(key, b"?" + dice.randbytes(12))
    elif kind == "number":
        await client.set(key, b"=\x07", ex=60)
    else:
        await _exchange(client, dice, key, keys)


async def _exchange(client: Valkey, dice: random.Random, key: bytes, keys: Sequence[bytes]) -> None:
    """Another user's entry of the same kind: the owner's id is what both kinds begin with."""
    alike = [each for each in keys if each != key and each.split(b":")[2] == key.split(b":")[2]]
    if not alike:
        return
    other = dice.choice(alike)
    if await client.type(other) != b"string" or await client.type(key) != b"string":
        return
    theirs, own = await client.get(other), await client.get(key)
    if _owner(theirs) is not None and _owner(own) not in (None, _owner(theirs)):
        await client.set(key, theirs, ex=60)


def _owner(entry: bytes | None) -> int | None:
    """Whose snapshot it is; None if it is none."""
    if entry is None or entry[:1] != SNAPSHOT:
        return None
    try:
        found = msgspec.msgpack.decode(entry[1:])
    except msgspec.MsgspecError:
        return None
    return int(found[0]) if isinstance(found, list) and found else None
