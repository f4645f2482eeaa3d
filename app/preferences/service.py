"""Keeping preferences, within their bounds whoever writes at the same time."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from app.database import Database, Transaction
from app.errors import NotFound, ValidationFailed
from app.preferences import queries
from app.preferences.structs import MAX_KEYS, MAX_TOTAL_BYTES, check, check_key

Document = dict[str, msgspec.Raw]


class Preferences:
    """A user's keys and values. Values travel as JSON text and are not looked into but for the known keys."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def all_of(self, user_id: int) -> Document:
        return _document(await queries.all_of(self._db, user_id))

    async def some_of(self, user_id: int, keys: Sequence[str]) -> dict[str, Any]:
        """The values under these keys, read; a key that was never set is not there."""
        found = await queries.some_of(self._db, user_id, keys)
        return {key: msgspec.json.decode(value) for key, value in found.items()}

    async def one_of(self, user_id: int, key: str) -> msgspec.Raw:
        """The value under a key.

        Raises:
            NotFound: there is none; `null` would be one.
        """
        value = await queries.one_of(self._db, user_id, check_key(key))
        if value is None:
            raise NotFound
        return msgspec.Raw(value.encode())

    async def merge(self, user_id: int, values: Document) -> Document:
        """Put these values beside the others, all or none; the whole as it is then."""
        return await self._write(user_id, values, replace=False)

    async def replace(self, user_id: int, values: Document) -> Document:
        """Put these values in the place of all others."""
        return await self._write(user_id, values, replace=True)

    async def delete(self, user_id: int, key: str) -> None:
        if not await queries.delete(self._db, user_id, check_key(key)):
            raise NotFound

    async def _write(self, user_id: int, values: Document, *, replace: bool) -> Document:
        checked = {key: check(key, value) for key, value in values.items()}
        if len(checked) > MAX_KEYS:
            raise ValidationFailed(("preferences", f"at most {MAX_KEYS} keys a user"))
        try:
            async with self._db.transaction() as tx:
                await queries.lock(tx, user_id)
                if replace:
                    await queries.keep_only(tx, user_id, list(checked))
                await queries.put(tx, user_id, checked)
                await _check_bounds(tx, user_id)
                return _document(await queries.all_of(tx, user_id))
        except asyncpg.ForeignKeyViolationError:
            raise NotFound from None  # the user was deleted in between


async def _check_bounds(tx: Transaction, user_id: int) -> None:
    keys, size = await queries.size(tx, user_id)
    if keys > MAX_KEYS:
        raise ValidationFailed(("preferences", f"at most {MAX_KEYS} keys a user"))
    if size > MAX_TOTAL_BYTES:
        raise ValidationFailed(("preferences", f"at most {MAX_TOTAL_BYTES} bytes of JSON a user"))


def _document(values: Mapping[str, str]) -> Document:
    return {key: msgspec.Raw(value.encode()) for key, value in values.items()}
