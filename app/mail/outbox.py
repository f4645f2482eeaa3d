"""What other rooms write: a letter, in the transaction of what causes it, or an errand that may lead to one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from app.database import Transaction
from app.uuid7 import uuid7


class Link(Struct, frozen=True):
    """What a URL is made of when the letter is sent; the token itself is stored nowhere."""

    purpose: str
    token_id: UUID


class Letter(Struct, frozen=True, kw_only=True):
    """A mail to one address; its kind names the template, or the handler if it is an errand (docs/mail.md)."""

    kind: str
    recipient: str
    user_id: int | None = None  # for the language
    context: Mapping[str, object] = {}  # for the template; JSON, and never a secret
    links: Mapping[str, Link] = {}  # by their names in the template
    expires_at: datetime | None = None  # not worth sending after that: its link is dead
    pause: float = 0.0  # seconds before it is sent: one that nobody waits for may be overtaken by events


async def write(tx: Transaction, letter: Letter) -> None:
    """Put it into the outbox, in the caller's transaction; after the commit `Sender.wake` makes haste.

    The language is the user's of now: a notice of his deletion is written before his row goes.
    """
    await tx.execute(
        """
        INSERT INTO mail_outbox (id, kind, recipient, user_id, language, context, links, expires_at, due_at)
        VALUES ($1, $2, $3, $4, (SELECT language FROM user_languages WHERE user_id = $4), $5, $6, $7,
                clock_timestamp() + make_interval(secs => $8))
        """,
        uuid7(),
        letter.kind,
        letter.recipient,
        letter.user_id,
        msgspec.json.encode(letter.context).decode(),
        msgspec.json.encode(letter.links).decode(),
        letter.expires_at,
        letter.pause,
    )


async def withdraw(tx: Transaction, user_id: int, kinds: Sequence[str] | None = None) -> None:
    """What waits to be sent to a user, or of that these kinds, is not worth it any more."""
    await tx.execute(
        "DELETE FROM mail_outbox WHERE user_id = $1 AND ($2::text[] IS NULL OR kind = ANY($2))", user_id, kinds
    )
