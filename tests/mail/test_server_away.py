"""Servers that are away, slow, or break: no letter is lost, or sent twice that need not be, or holds up others."""

import asyncio

import pytest
from aiosmtpd.smtp import SMTP
from structlog.testing import capture_logs

from app.mail import sender, smtp
from tests.kit import until
from tests.mail.conftest import ADA, Office, letter, recipients
from tests.mail.kit import PASSWORD, USER, Postbox, breaks, hanging, knows, serving


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries to reach a server."""
    monkeypatch.setattr(sender, "LONGEST_PAUSE", 0.02)


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

    postbox.data.append(hanging(given_up))
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

    postbox.data.append(hanging(hung))
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


async def test_letters_that_break_their_connections_hold_up_nobody(office: Office, postbox: Postbox) -> None:
    """As where a server closes the connection for some recipients."""
    poison, good = sender.BREAKS - 1, 3
    postbox.data.extend([breaks] * poison)
    await office.write(*(letter(recipient=f"user-{number}@example.org") for number in range(poison + good)))

    await office.sender(office.db)._round()

    assert len(postbox.mails) == good
    assert len(await office.rows()) == poison


async def test_a_server_that_breaks_letter_after_letter_is_away(office: Office, postbox: Postbox) -> None:
    postbox.data.extend([breaks] * sender.BREAKS)
    await office.write(*(letter() for _ in range(sender.BREAKS + 1)))
    at_work = office.sender(office.db)

    await at_work._round()

    assert at_work._failures == 1
    assert postbox.mails == []
