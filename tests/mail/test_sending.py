"""Mail is written in a transaction and sent beside all requests: each letter once, and nothing of it is kept."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from app.cli.embedded import Postgres
from app.database import Transaction
from app.mail import outbox, queries, sender
from app.mail.outbox import Letter
from app.mail.sender import Errand, back_off
from tests.mail.conftest import ADA, CONTEXT, TOKEN, TOKEN_ID, Office, in_, letter
from tests.mail.kit import Postbox

URL = f"https://auth.example.test/not_me?token={TOKEN}-{TOKEN_ID}"


async def test_a_letter_arrives_with_both_parts_and_the_headers_that_it_needs(office: Office, postbox: Postbox) -> None:
    await office.write(letter())
    (row,) = await office.rows()

    await office.start()
    mail = await postbox.mail()

    assert (mail.sender, mail.recipients) == ("no-reply@mail.example.org", [ADA])
    message = mail.message
    assert message["From"] == "Gatehouse <no-reply@mail.example.org>"
    assert message["To"] == ADA
    assert message["Subject"] == "Your password was changed"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    assert message["Message-ID"] == f"<{row['id']}@mail.example.org>"
    assert message["Date"].datetime == row["created_at"].replace(microsecond=0)
    for part in (mail.part("plain"), mail.part("html")):
        assert "Hello ada," in part
        assert "2026-11-21 05:46 UTC" in part
        assert "203.0.113.7" in part
        assert URL in part
    assert all(len(line) <= 998 and line.isascii() for line in mail.raw.split(b"\r\n"))
    assert not re.search(r"<img|<script|<link|url\(", mail.part("html"))
    await office.emptied()
    assert office.counted("sent") == 1


async def test_a_sender_that_is_woken_does_not_wait_for_its_next_look(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 1e6)
    at_work = await office.start()
    await office.write(letter())
    at_work.wake()
    await postbox.mail(1)

    await office.write(letter())
    at_work.wake()

    await postbox.mail(2)


async def test_what_another_process_has_written_is_found(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.01)
    await office.start()

    for number in range(1, 4):
        await office.write(letter())
        await postbox.mail(number)


async def test_a_letter_that_pauses_is_sent_when_it_is_due_and_others_go_first(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 1e6)
    await office.write(letter(recipient="later@example.org", pause=0.3), letter())

    await office.start()

    assert [(await postbox.mail(number)).recipients for number in (1, 2)] == [[ADA], ["later@example.org"]]


async def test_what_is_withdrawn_is_not_sent(office: Office) -> None:
    await office.write(*(letter(kind, user_id=1) for kind in ("password.reset", "email.verify")), letter(user_id=2))
    async with office.db.transaction() as tx:
        await outbox.withdraw(tx, 1, ["email.verify"])
        await outbox.withdraw(tx, 2)

    assert [row["kind"] for row in await office.rows()] == ["password.reset"]
    async with office.db.transaction() as tx:
        await outbox.withdraw(tx, 1)
    assert not await office.rows()


async def test_a_letter_that_is_rolled_back_is_not_sent(office: Office, postbox: Postbox) -> None:
    with suppress(RuntimeError):
        async with office.db.transaction() as tx:
            await outbox.write(tx, letter(recipient="nobody@example.org"))
            raise RuntimeError
    await office.start()

    await office.write(letter())
    await office.emptied()

    assert [mail.recipients for mail in postbox.mails] == [[ADA]]


async def test_of_two_senders_one_sends_each_letter(office: Office, postbox: Postbox) -> None:
    recipients = [f"user-{number}@example.org" for number in range(50)]
    await office.write(*(letter(recipient=recipient) for recipient in recipients))

    await office.start()
    await office.start()
    await office.emptied()

    assert sorted(mail.recipients[0] for mail in postbox.mails) == sorted(recipients)
    assert office.counted("sent") == 50


async def test_one_connection_serves_a_batch(office: Office, postbox: Postbox) -> None:
    await office.write(*(letter() for _ in range(20)))

    await office.start()
    await office.emptied()

    assert len(postbox.mails) == 20
    assert postbox.connections == 1


async def test_how_many_wait_is_seen_without_asking_for_it(office: Office, postbox: Postbox) -> None:
    at_work = office.sender(office.db)
    (metrics,) = office.metrics
    await office.write(letter(), letter(), letter())

    await office.db.execute(
        """
        UPDATE mail_outbox SET created_at = created_at - interval '1 hour'
        WHERE id = (SELECT id FROM mail_outbox ORDER BY id LIMIT 1)
        """
    )

    await at_work._round()
    metrics.sample()
    assert metrics.registry.get_sample_value("auth_mail_waiting") == 3
    assert 3600 < (metrics.registry.get_sample_value("auth_mail_oldest_seconds") or 0) < 3600 + 600

    await at_work._round()
    metrics.sample()
    assert metrics.registry.get_sample_value("auth_mail_waiting") == 0
    assert metrics.registry.get_sample_value("auth_mail_oldest_seconds") == 0


async def test_a_letter_whose_time_is_over_is_not_sent(office: Office, postbox: Postbox) -> None:
    await office.write(letter(recipient="late@example.org", expires_at=in_(seconds=-1)))
    await office.write(letter(recipient="old@example.org"))
    await office.write(letter(recipient="invited@example.org", expires_at=in_(days=1)))
    await office.db.execute(
        "UPDATE mail_outbox SET created_at = now() - interval '73 hours' WHERE recipient <> $1", ADA
    )

    await office.start()
    await office.emptied()

    assert [mail.recipients for mail in postbox.mails] == [["invited@example.org"]]
    assert office.counted("expired") == 2


async def test_nothing_of_a_token_is_in_the_table(office: Office, own_database: str, postgres: Postgres) -> None:
    await office.write(letter())

    dump = postgres.sql("SELECT mail_outbox::text FROM mail_outbox", own_database.rpartition("/")[2])

    assert str(TOKEN_ID) in dump
    assert TOKEN not in dump


async def test_a_letter_outlives_its_user_in_his_language(office: Office) -> None:
    user = await office.db.fetchrow("INSERT INTO users (username) VALUES ('ada') RETURNING id")
    assert user is not None
    await office.db.execute(
        "INSERT INTO preferences (user_id, key, value) VALUES ($1, 'language', '\"de-AT\"')", user["id"]
    )

    async with office.db.transaction() as tx:
        await outbox.write(tx, letter("account.deleted", user_id=user["id"]))
        await tx.execute("DELETE FROM users WHERE id = $1", user["id"])

    (row,) = await office.rows()
    assert (row["user_id"], row["language"]) == (user["id"], "de-AT")


@pytest.mark.parametrize("preference", ["null", None])
async def test_who_has_said_nothing_has_no_language(office: Office, preference: str | None) -> None:
    user = await office.db.fetchrow("INSERT INTO users (username) VALUES ('ada') RETURNING id")
    assert user is not None
    if preference:
        await office.db.execute(
            "INSERT INTO preferences (user_id, key, value) VALUES ($1, 'language', $2)", user["id"], preference
        )

    await office.write(letter(user_id=user["id"]))

    (row,) = await office.rows()
    assert row["language"] is None


# ---- errands ------------------------------------------------------------------------------------------------------


def forgot(done: Callable[[Transaction, Errand], Awaitable[None]]) -> dict[str, sender.Handler]:
    return {"password.forgot": done}


async def test_an_errand_is_done_and_removed_in_one_transaction(office: Office, postbox: Postbox) -> None:
    async def answer(tx: Transaction, errand: Errand) -> None:
        assert errand.context == {"ip": "203.0.113.7"}
        await outbox.write(tx, letter(recipient=errand.recipient))

    at_work = await office.start(forgot(answer))
    await office.write(Letter(kind="password.forgot", recipient=ADA, context={"ip": "203.0.113.7"}))
    at_work.wake()

    mail = await postbox.mail()
    await office.emptied()
    assert mail.recipients == [ADA]
    assert len(postbox.mails) == 1


async def test_an_errand_that_fails_leaves_nothing_behind_and_is_done_again(office: Office, postbox: Postbox) -> None:
    tries = iter([True, False])

    async def answer(tx: Transaction, errand: Errand) -> None:
        await outbox.write(tx, letter(recipient=errand.recipient))
        if next(tries):
            raise KeyError(TOKEN)

    at_work = await office.start(forgot(answer))
    await office.write(Letter(kind="password.forgot", recipient=ADA))
    at_work.wake()
    row = await office.tried()
    assert (row["kind"], row["last_error"]) == ("password.forgot", "KeyError")

    await office.make_due()
    at_work.wake()

    await postbox.mail()
    await office.emptied()
    assert len(postbox.mails) == 1


async def test_an_errand_that_hangs_is_broken_off(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "ERRAND_SECONDS", 0.05)

    async def hang(tx: Transaction, _: Errand) -> None:
        await tx.execute("DELETE FROM preferences")
        await asyncio.Event().wait()

    await office.write(Letter(kind="password.forgot", recipient=ADA))
    await office.start(forgot(hang))

    assert (await office.tried())["last_error"] == "TimeoutError"


async def test_an_errand_that_somebody_else_has_done_meanwhile_is_not_done_again(office: Office) -> None:
    """As where the lease of a process that stood still has ended."""
    done = []

    async def answer(_: Transaction, errand: Errand) -> None:
        done.append(errand)

    at_work = office.sender(office.db, forgot(answer))
    await office.write(Letter(kind="password.forgot", recipient=ADA))
    (claimed,) = (await queries.claim(office.db, 0.0, 1)).claimed
    at_work._held = {claimed.id: claimed}
    await office.db.execute("DELETE FROM mail_outbox")

    await at_work._run(claimed, answer)

    assert done == []


# ---- without a server ---------------------------------------------------------------------------------------------


async def test_in_development_mail_is_printed_with_its_link(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    at_work = await office.start(smtp_url="", environment="development")

    await office.write(letter(context={**CONTEXT, "username": "Käthe"}))
    at_work.wake()
    await office.emptied()

    assert at_work.available
    printed = capsys.readouterr().err
    assert f"To: {ADA}\nSubject: Your password was changed\n\nHello Käthe,\n" in printed
    assert URL in printed
    assert "<html" not in printed


async def test_in_production_without_a_server_nothing_is_sent(office: Office) -> None:
    at_work = await office.start(smtp_url="")

    assert not at_work.available
    await office.write(letter())
    at_work.wake()
    await at_work.stop()
    (row,) = await office.rows()
    assert row["attempts"] == 0


# ---- how long until the next attempt ------------------------------------------------------------------------------


def test_attempts_come_soon_at_first_and_rarely_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "JITTER", 0.0)

    assert [back_off(attempts, 0.0) for attempts in range(1, 8)] == [2, 4, 8, 16, 32, 60, 60]
    assert back_off(20, 599.0) == 60
    assert back_off(20, 6000.0) == 600
    assert back_off(5000, 200_000.0) == 3600
