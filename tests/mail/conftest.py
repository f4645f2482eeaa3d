"""A database of the test's own, senders on it, and a server that they hand mail to."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.database import Database
from app.mail import outbox
from app.mail.outbox import Letter, Link
from app.mail.sender import Handler, Sender
from app.metrics import Metrics
from app.settings import Settings
from tests.kit import until
from tests.mail.kit import Postbox, serving
from tests.replica import settings_for

ADA = "ada@example.org"
TOKEN = "t0ken-which-nobody-keeps"
TOKEN_ID = UUID("01a1fca4-2b85-7971-b355-e42293d2b17b")
CONTEXT = {"username": "ada", "at": "2026-11-21T05:46:19Z", "ip": "203.0.113.7", "device": "Firefox on Linux"}


def letter(kind: str = "password.changed", **fields: Any) -> Letter:
    links = {"not_me": Link("not_me", TOKEN_ID)}
    return Letter(**{"kind": kind, "recipient": ADA, "context": CONTEXT, "links": links, **fields})


def link(link: Link) -> str:
    return f"https://auth.example.test/{link.purpose}?token={TOKEN}-{link.token_id}"


def recipients(postbox: Postbox) -> list[str]:
    return [mail.recipients[0] for mail in postbox.mails]


@dataclass
class Office:
    """What a service has of mail: its database, and as many senders as there are processes."""

    db: Database
    settings: Settings
    stack: AsyncExitStack
    metrics: list[Metrics] = field(default_factory=list)

    async def start(self, handlers: Mapping[str, Handler] | None = None, **settings: Any) -> Sender:
        """A sender at work; it has a database's pool of its own, as it is in a process of its own."""
        db = Database(self.settings.database_url, 2)
        await db.start()
        self.stack.push_async_callback(db.stop)
        sender = self.sender(db, handlers, **settings)
        sender.start()
        self.stack.push_async_callback(sender.stop)
        return sender

    def sender(self, db: Database, handlers: Mapping[str, Handler] | None = None, **settings: Any) -> Sender:
        self.metrics.append(Metrics())
        return Sender(db, replace(self.settings, **settings), link, handlers or {}, self.metrics[-1])

    async def write(self, *letters: Letter) -> None:
        async with self.db.transaction() as tx:
            for each in letters:
                await outbox.write(tx, each)

    async def rows(self) -> list[asyncpg.Record]:
        return await self.db.fetch("SELECT *, clock_timestamp() AS now FROM mail_outbox ORDER BY id")

    async def emptied(self) -> None:
        await until(self._is_empty)

    async def _is_empty(self) -> bool:
        return not await self.rows()

    async def tried(self) -> asyncpg.Record:
        """The row that an attempt has failed at, once there is one and no other waits."""
        await until(self._is_tried)
        (row,) = await self.rows()
        return row

    async def _is_tried(self) -> bool:
        rows = await self.rows()
        return len(rows) == 1 and rows[0]["last_error"] is not None

    async def make_due(self) -> None:
        """As if time had passed."""
        await self.db.execute("UPDATE mail_outbox SET due_at = clock_timestamp()")

    def counted(self, result: str) -> float:
        return sum(
            each.registry.get_sample_value("auth_mail_total", {"result": result}) or 0.0 for each in self.metrics
        )


@pytest.fixture
async def postbox() -> AsyncIterator[Postbox]:
    async with serving(Postbox()) as postbox:
        yield postbox


@pytest.fixture
async def office(own_database: str, postbox: Postbox) -> AsyncIterator[Office]:
    settings = replace(
        settings_for(own_database, ""), smtp_url=postbox.url, mail_from="Gatehouse <no-reply@mail.example.org>"
    )
    db = Database(own_database, 2)
    await db.start()
    async with AsyncExitStack() as stack:
        yield Office(db, settings, stack)
    await db.stop()


def in_(**delta: float) -> datetime:
    return datetime.now(UTC) + timedelta(**delta)
