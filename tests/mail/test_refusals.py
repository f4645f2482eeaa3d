"""Servers that are away, slow, or will not: no letter is lost, or sent twice that need not be, or holds up others."""

import asyncio
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from aiosmtpd.smtp import SMTP
from structlog.testing import capture_logs

from app.database import Database, DatabaseUnavailable
from app.mail import queries, sender, smtp
from tests.kit import until
from tests.mail.conftest import ADA, Office, in_, letter
from tests.mail.kit import ACCEPTED, PASSWORD, USER, Postbox, breaks, knows, serving


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries to reach a server."""
    monkeypatch.setattr(sender, "LONGEST_PAUSE", 0.02)


def recipients(postbox: Postbox) -> list[str]:
    return [mail.recipients[0] for mail in postbox.mails]


# ---- the server is away -------------------------------------------------------------------------------------------


async def test_a_server_that_comes_back_gets_each_letter_once(office: Office) -> None:
    async with serving(Postbox()) as gone:
        pass  # so that its port is free
    await office.write(*(letter(recipient=f"user-{number}@example.org") for number in range(3)))
    with capture_logs() as logs:
        at_work = await office.start(smtp_url=gone.url)
        await until(lambda: at_work._failures >= 2)
    assert {(row["attempts"], row["last_error"]) for row in await office.rows()} <= {(0, None), (1, None)}
    assert {line["event"] for line in logs} == {"mail.server_away"}
    assert "example.org" not in repr(logs)

    async with serving(Postbox(), port=gone.port) as back:
        await office.emptied()

        assert sorted(recipients(back)) == [f"user-{number}@example.org" for number in range(3)]
        await until(lambda: at_work._failures == 0)
        await at_work.stop()


async def test_a_server_that_never_answers_costs_no_letter_an_attempt(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "STEP_SECONDS", 0.05)
    await office.write(letter())
    ended = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    with capture_logs() as logs:
        at_work = await office.start(smtp_url=f"smtp://127.0.0.1:{port}")
        await until(lambda: at_work._failures >= 2)
    await at_work.stop()
    ended.set()
    mute.close()

    assert logs[0]["reason"] == "connection: no answer in time"
    (row,) = await office.rows()
    assert row["last_error"] is None


@pytest.mark.parametrize("answer", ["530 5.7.0 sign in first", "451 4.3.0 later", "550 5.7.1 not from there"])
async def test_a_sender_that_is_refused_is_the_operators_fault(office: Office, postbox: Postbox, answer: str) -> None:
    postbox.sender_refused = answer
    await office.write(letter(recipient="first@example.org"), letter(recipient="second@example.org"))
    with capture_logs() as logs:
        at_work = await office.start()
        await until(lambda: at_work._failures >= 2)
    assert office.counted("given_up") == 0
    assert f"MAIL FROM: {answer[:9]}" in [line.get("reason") for line in logs]

    postbox.sender_refused = None
    await office.make_due()
    await office.emptied()

    assert sorted(recipients(postbox)) == ["first@example.org", "second@example.org"]


async def test_a_wrong_password_is_the_operators_fault_and_is_not_logged(office: Office) -> None:
    async with serving(Postbox(), authenticator=knows, auth_require_tls=False) as postbox:
        await office.write(letter())
        with capture_logs() as logs:
            at_work = await office.start(smtp_url=f"smtp://{USER.replace('@', '%40')}:hunter2@127.0.0.1:{postbox.port}")
            await until(lambda: at_work._failures >= 2)
        await at_work.stop()

    assert logs[0]["reason"] == "connection: 535 5.7.8"
    assert "hunter2" not in repr(logs)
    assert PASSWORD not in repr(logs)
    assert office.counted("given_up") == 0
    assert len(await office.rows()) == 1


@pytest.mark.parametrize("answer", ["530 5.7.0 sign in first", "421 4.3.2 going down"])
async def test_a_recipient_is_not_to_blame_for_what_is_said_of_the_connection(
    office: Office, postbox: Postbox, answer: str
) -> None:
    postbox.rcpt.append(answer)
    await office.write(letter())

    await office.start()
    row = await office.tried()
    assert row["last_error"] == f"RCPT TO: {answer[:9]}"

    await office.make_due()
    await postbox.mail()


# ---- the server is slow, or dies ----------------------------------------------------------------------------------


async def test_an_answer_that_takes_too_long_is_not_waited_for(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "DATA_SECONDS", 0.05)
    given_up = asyncio.Event()

    async def too_slow(_: SMTP) -> str:
        await given_up.wait()
        return "451 nobody hears this"

    postbox.data.append(too_slow)
    await office.write(letter())

    at_work = await office.start()
    row = await office.tried()
    assert row["last_error"] == "DATA: no answer in time"
    given_up.set()
    monkeypatch.setattr(smtp, "DATA_SECONDS", 45.0)
    await office.make_due()
    at_work.wake()
    await office.emptied()

    assert recipients(postbox) == [ADA]


async def test_a_letter_may_not_take_longer_than_its_lease_however_slow_each_answer_is(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "LETTER_SECONDS", 0.05)
    hung = asyncio.Event()

    async def hang(_: SMTP) -> str:
        await hung.wait()
        return "451 nobody hears this"

    postbox.data.append(hang)
    await office.write(letter())

    await office.start()

    assert (await office.tried())["last_error"] == "DATA: no answer in time"
    hung.set()
    assert sender.LEASE > smtp.CONNECT_SECONDS + 60.0 + sender.BATCH_SECONDS


async def test_a_connection_that_breaks_in_the_middle_of_a_letter_is_tried_again_as_the_same_letter(
    office: Office, postbox: Postbox
) -> None:
    seen: list[bytes] = []

    async def accepts_and_breaks(server: SMTP) -> str:
        assert server.envelope is not None
        assert server.envelope.original_content is not None
        seen.append(server.envelope.original_content)
        return await breaks(server)

    postbox.data.append(accepts_and_breaks)
    await office.write(letter())

    at_work = await office.start()
    row = await office.tried()
    assert row["last_error"] == "DATA: the connection broke"
    await office.make_due()
    at_work.wake()
    mail = await postbox.mail()

    message_id = f"Message-ID: <{row['id']}@mail.example.org>".encode()
    assert message_id in seen[0]
    assert message_id in mail.raw
    assert len(postbox.mails) == 1


async def test_a_letter_that_breaks_every_connection_does_not_hold_up_the_others(
    office: Office, postbox: Postbox
) -> None:
    postbox.data.append(breaks)
    await office.write(*(letter(recipient=f"user-{number}@example.org") for number in range(6)))

    await office.start()
    row = await office.tried()

    assert sorted([*recipients(postbox), row["recipient"]]) == [f"user-{number}@example.org" for number in range(6)]


# ---- the letter is refused ----------------------------------------------------------------------------------------


async def test_a_letter_that_is_refused_for_now_is_sent_later_and_the_others_at_once(
    office: Office, postbox: Postbox
) -> None:
    postbox.rcpt.append("451 4.7.1 <ada@example.org>: greylisted")
    await office.write(letter(), letter(recipient="next@example.org"))

    at_work = await office.start()
    await postbox.mail()
    row = await office.tried()
    assert row["last_error"] == "RCPT TO: 451 4.7.1"
    assert row["due_at"] > row["now"]
    assert row["recipient"] not in recipients(postbox)
    await office.make_due()
    at_work.wake()
    await office.emptied()

    assert sorted(recipients(postbox)) == [ADA, "next@example.org"]
    assert postbox.connections == 2  # the one went on after the refusal
    assert (office.counted("retried"), office.counted("sent")) == (1, 2)


@pytest.mark.parametrize("step", ["RCPT TO", "DATA"])
async def test_a_letter_that_is_refused_for_good_is_given_up_and_nobody_named(
    office: Office, postbox: Postbox, step: str
) -> None:
    answer = f"550 5.1.1 <{ADA}>: nobody of that name"
    if step == "DATA":
        postbox.data.append(answer)
    else:
        postbox.rcpt.append(answer)
    await office.write(letter())
    (row,) = await office.rows()

    with capture_logs() as logs:
        await office.start()
        await office.emptied()

    (line,) = [line for line in logs if line["event"] == "mail.given_up"]
    assert (line["id"], line["kind"], line["reason"]) == (str(row["id"]), "password.changed", f"{step}: 550 5.1.1")
    assert ADA not in repr(logs)
    assert office.counted("given_up") == 1
    assert postbox.mails == []


@pytest.mark.parametrize("recipient", ["ada", "ada@example.org\r\nRCPT TO:<eve@example.org>", "a b@x.org", "=?x@y.org"])
async def test_what_is_no_address_is_given_up(office: Office, postbox: Postbox, recipient: str) -> None:
    await office.write(letter(recipient=recipient))

    await office.start()
    await office.emptied()

    assert postbox.connections == 0
    assert office.counted("given_up") == 1


async def test_a_letter_that_cannot_be_composed_waits_until_that_is_mended(office: Office, postbox: Postbox) -> None:
    await office.write(letter("no.such.kind"), letter(links={}), letter())

    with capture_logs() as logs:
        await office.start()
        await postbox.mail()

    reasons = {line["reason"] for line in logs if line["event"] == "mail.postponed"}
    assert reasons == {"no.such.kind.txt", "'not_me' is undefined"}
    assert len(postbox.mails) == 1


async def test_what_a_link_says_when_it_cannot_be_made_is_not_logged(office: Office, postbox: Postbox) -> None:
    def broken(_: object) -> str:
        raise ValueError("t0ken")

    at_work = office.sender(office.db)
    at_work._letters._link = broken
    await office.write(letter())

    with capture_logs() as logs:
        await at_work._round()

    assert logs[0]["reason"] == "ValueError"


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
    """Does what it stands for, but for the first times."""

    def __init__(self, does: Any, times: int) -> None:
        self._does = does
        self._left = times

    async def __call__(self, *args: Any) -> Any:
        if self._left:
            self._left -= 1
            raise DatabaseUnavailable
        return await self._does(*args)


async def test_no_failure_of_the_database_ends_the_sender(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(queries, "claim", Fails(queries.claim, 2))
    await office.write(letter())

    with capture_logs() as logs:
        await office.start()
        await postbox.mail()

    assert [line["event"] for line in logs][:2] == ["mail.failed"] * 2


async def test_a_letter_that_was_sent_and_not_removed_is_removed_and_not_sent_again(
    office: Office, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(queries, "remove", Fails(queries.remove, 3))
    monkeypatch.setattr(queries, "give_back", Fails(queries.give_back, 1))
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


async def test_letters_that_break_their_connections_hold_up_nobody(office: Office, postbox: Postbox) -> None:
    """As where a server closes the connection for some recipients; they come first, being the oldest."""
    poison = sender.BREAKS - 1
    postbox.data.extend([breaks] * poison)
    await office.write(*(letter(recipient=f"poison-{number}@example.org") for number in range(poison)))
    await office.write(*(letter(recipient=f"good-{number}@example.org") for number in range(3)))

    await office.sender(office.db)._round()

    assert sorted(recipients(postbox)) == [f"good-{number}@example.org" for number in range(3)]
    assert len(await office.rows()) == poison


async def test_a_server_that_breaks_letter_after_letter_is_away(office: Office, postbox: Postbox) -> None:
    postbox.data.extend([breaks] * sender.BREAKS)
    await office.write(*(letter() for _ in range(sender.BREAKS + 1)))
    at_work = office.sender(office.db)

    await at_work._round()

    assert at_work._failures == 1
    assert postbox.mails == []
