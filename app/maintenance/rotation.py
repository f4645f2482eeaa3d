"""A new signing key, because somebody asks for one."""

from uuid import UUID

from app.audit.events import Event, record
from app.client import Client
from app.database import Database
from app.errors import Conflict
from app.keys import ring
from app.keys.ring import Ring
from app.settings import Settings


async def rotate(
    db: Database, settings: Settings, client: Client | None, actor_id: int | None, session_id: UUID | None
) -> str:
    """The name of the key, which is published now and signs in PUBLISH_SECONDS; the command line is nobody."""
    async with db.transaction() as tx:
        kid = await ring.rotate(tx, settings.jwt_algorithm, ring.box_of(settings))
        await record(tx, Event.KEYS_ROTATED, client, actor_id=actor_id, session_ids=[session_id], details={"key": kid})
    return kid


class Rotation:
    def __init__(self, db: Database, settings: Settings, keys: Ring) -> None:
        self._db = db
        self._settings = settings
        self._keys = keys

    async def rotate(self, client: Client, actor_id: int, session_id: UUID) -> str:
        """The same for who asks here.

        Raises:
            Conflict: with HS256 the key is a setting.
        """
        if self._settings.jwt_algorithm == "HS256":
            raise Conflict("With JWT_ALGORITHM=HS256 the key is JWT_SECRET: change that, everywhere at once.")
        kid = await rotate(self._db, self._settings, client, actor_id, session_id)
        await self._keys.look()
        return kid
