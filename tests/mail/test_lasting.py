"""A sender that is stopped, dies, or loses PostgreSQL: what it held is sent, by it or by another one."""

import asyncio
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from aiosmtpd.smtp import SMTP
from structlog.testing import capture_logs

from app.database import Database, DatabaseUnavailable
from app.mail import queries, sender
from tests.kit import until
from tests.mail.conftest import ADA, Office, in_, letter, recipients
from tests.mail.kit import ACCEPTED, Postbox


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries to reach a server."""
    monkeypatch.setattr(sender, "LONGEST_PAUSE", 0.02)


# ---- stopping -----------------------------------------------------------------------------------------------------


async def test_a_sender_that_is_stopped_keeps_the_letter_under_way_and_gives_the_others_back(
    office: Office, postbox: Postbox
) -> None:
    under_way, released = asyncio.Event(), asyncio.Event()

    async def slow(_: SMTP) -> str:
        under_way.set()
        await released.wait()
        return "451 nobody hears this"

    postbox.data.append(slow)
    await office.write(*(letter(recipient=f"user-{number}@example.org") for number in range(3)))
    at_work = await office.start()
    async with asyncio.timeout(10):
        await under_way.wait()

    await at_work.stop()

    first, *others = await office.rows()
    assert first["due_at"] > first["now"]  # under its lease: it may have been accepted
    assert first["attempts"] == 1
    assert [(row["attempts"], row["due_at"] <= row["now"]) for row in others] == [(0, True)] * 2
    released.set()
    await office.start()
    await postbox.mail(2)
    assert sorted(recipients(postbox)) == sorted(row["recipient"] for row in others)


async def test_a_sender_that_is_stopped_finishes_the_letter_that_it_can(office: Office, postbox: Postbox) -> None:
    stopping = asyncio.Event()

    async def once_it_stops(_: SMTP) -> str:
        stopping.set()
        return ACCEPTED

    postbox.data.append(once_it_stops)
    await office.write(letter(), letter())
    at_work = await office.start()
    async with asyncio.timeout(10):
        await stopping.wait()

    await at_work.stop()

    (row,) = await office.rows()
    assert (row["attempts"], len(postbox.mails)) == (0, 1)


async def test_a_batch_that_takes_too_long_is_left_to_others(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no letter is begun that its lease might not cover."""
    at_work = office.sender(office.db)
    await office.write(letter(), letter())

    async def time_passes(_: SMTP) -> str:
        monkeypatch.setattr(sender, "time", SimpleNamespace(monotonic=lambda: 1e12))  # the sender's alone
        return ACCEPTED

    postbox.data.append(time_passes)
    await at_work._round()
    assert len(postbox.mails) == 1
    assert len(await office.rows()) == 1

    monkeypatch.undo()
    monkeypatch.setattr(sender, "BATCH_SECONDS", -1.0)
    await at_work._round()

    (row,) = await office.rows()
    assert (row["attempts"], row["due_at"] <= row["now"], len(postbox.mails)) == (0, True, 1)


# ---- PostgreSQL is away -------------------------------------------------------------------------------------------


class Fails:
    """Does what it stands for, but for the first times; senders that serve other tests have other databases."""

    def __init__(self, does: Any, times: int, db: Database) -> None:
        self._does = does
        self._left = times
        self._url = db.url

    async def __call__(self, on: object, *args: Any) -> Any:
        if self._left and (not isinstance(on, Database) or on.url == self._url):
            self._left -= 1
            raise DatabaseUnavailable
        return await self._does(on, *args)


async def test_no_failure_of_the_database_ends_the_sender(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(queries, "claim", Fails(queries.claim, 2, office.db))
    await office.write(letter())

    with capture_logs() as logs:
        await office.start()
        await postbox.mail()

    assert [line["event"] for line in logs][:2] == ["mail.failed"] * 2


async def test_a_letter_that_was_sent_and_not_removed_is_removed_and_not_sent_again(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(queries, "remove", Fails(queries.remove, 3, office.db))
    monkeypatch.setattr(queries, "give_back", Fails(queries.give_back, 1, office.db))
    monkeypatch.setattr(sender, "LEASE", 0.0)  # as if it had ended meanwhile
    await office.write(letter(), letter(recipient="next@example.org"))

    await office.start()
    await office.emptied()

    assert sorted(recipients(postbox)) == [ADA, "next@example.org"]


async def test_no_connection_to_the_database_is_held_while_a_server_is_talked_to(
    office: Office, own_database: str, postbox: Postbox
) -> None:
    db = Database(own_database, 1)
    await db.start()
    in_use = []

    async def look(_: SMTP) -> str:
        in_use.append(db.gauge()[1])
        return ACCEPTED

    postbox.data.append(look)
    await office.write(letter())
    await office.sender(db)._round()
    await db.stop()

    assert in_use == [0]


async def test_what_a_dead_process_has_claimed_is_sent_by_another_once_its_lease_ends(
    office: Office, postbox: Postbox
) -> None:
    await office.write(letter())
    await queries.claim(office.db, 60.0, 1)
    at_work = office.sender(office.db)

    await at_work._round()
    assert postbox.mails == []
    await office.make_due()
    await at_work._round()

    assert recipients(postbox) == [ADA]


async def test_who_has_lost_his_lease_changes_nothing(office: Office) -> None:
    await office.write(letter(expires_at=in_(hours=1)))
    (lost,) = (await queries.claim(office.db, 0.0, 1)).claimed
    (held,) = (await queries.claim(office.db, 60.0, 1)).claimed

    await queries.give_back(office.db, [lost])
    await queries.postpone(office.db, lost, 0.0, "too late")

    (row,) = await office.rows()
    assert (row["attempts"], row["last_error"]) == (held.attempts, None) == (2, None)
    assert row["due_at"] > row["now"]


async def test_an_outbox_that_is_not_there_yet_is_no_end(own_database: str, office: Office) -> None:
    connection = await asyncpg.connect(own_database)
    await connection.execute("ALTER TABLE mail_outbox RENAME TO elsewhere")
    at_work = await office.start()
    with capture_logs() as logs:
        at_work.wake()
        await until(lambda: any(line["event"] == "mail.failed" for line in logs))
    await connection.close()

    assert at_work._keeper is not None
    assert not at_work._keeper.done()
