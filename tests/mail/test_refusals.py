"""Letters that a server will not have, now or ever, and those that cannot be made."""

import pytest
from structlog.testing import capture_logs

from app.mail import sender
from tests.mail.conftest import ADA, Office, letter, recipients
from tests.mail.kit import Postbox


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries to reach a server."""
    monkeypatch.setattr(sender, "LONGEST_PAUSE", 0.02)


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
