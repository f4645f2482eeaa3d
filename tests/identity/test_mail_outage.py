"""The mail's server is down, slow or rude: no client of ours notices, and every mail comes once it is back."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from aiosmtpd.smtp import SMTP

from app.mail import sender
from tests.identity.mailkit import joined, token, use
from tests.kit import from_ip, new_name, register
from tests.mail.kit import ACCEPTED, Postbox, serving
from tests.replica import Start

FROM = "no-reply@example.test"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again soon."""
    for name in ("FIRST_RETRY", "NEXT_RETRY", "LONGEST_PAUSE", "POLL_SECONDS"):
        monkeypatch.setattr(sender, name, 0.05)


async def test_registration_and_forgot_answer_while_the_server_is_down_and_mails_come_once_it_is_back(
    start: Start,
) -> None:
    postbox = Postbox()
    async with AsyncExitStack() as first:
        await first.enter_async_context(serving(postbox))
        port = postbox.port
    one, other = [await start(smtp_url=f"smtp://127.0.0.1:{port}", mail_from=FROM) for _ in range(2)]
    people = [await register(one.client, email=f"{new_name()}@example.org") for _ in range(5)]
    for each in people:
        answer = await other.client.post("/password/forgot", json={"email": each.email}, headers=from_ip())
        assert answer.status_code == 202

    async with serving(postbox, port=port):
        for each in people:
            mails = [await postbox.to(each.email or "", number) for number in (1, 2)]
            pages = {"verify-email", "reset-password"}
            found = {page for mail in mails for page in pages if page in mail.part("plain")}
            assert found == pages
        async with asyncio.timeout(20):
            while await one.parts.db.fetch("SELECT FROM mail_outbox"):
                await asyncio.sleep(0.01)

    assert len(postbox.mails) == 2 * len(people)


async def test_nobody_waits_for_a_server_that_does_not_come_to_an_end(start: Start) -> None:
    postbox, slow = Postbox(), asyncio.Event()

    async def dawdles(_: SMTP) -> str:
        await slow.wait()
        return ACCEPTED

    postbox.data.append(dawdles)
    async with serving(postbox):
        replica = await start(smtp_url=postbox.url, mail_from=FROM)
        ada = await register(replica.client, email=f"{new_name()}@example.org")
        async with asyncio.timeout(20):
            while postbox.data:  # until the first mail is under way
                await asyncio.sleep(0.01)
        again = await replica.client.post("/password/forgot", json={"email": ada.email}, headers=from_ip())
        assert again.status_code == 202
        assert not postbox.mails

        slow.set()

        await postbox.to(ada.email or "", 2)
        assert len(postbox.mails) == 2


async def test_a_server_that_says_later_is_asked_later(start: Start) -> None:
    postbox = Postbox()
    postbox.data.extend(["451 4.3.0 not now"] * 3)
    async with serving(postbox):
        replica = await start(smtp_url=postbox.url, mail_from=FROM)
        ada, link = await joined(replica.client, postbox)

        assert (await use(replica.client, "/email/verify", link)).status_code == 204
        assert len(postbox.of(ada.email or "")) == 1


async def test_a_process_that_dies_leaves_its_mail_to_the_others(start: Start) -> None:
    """It has committed, and nobody woke a sender."""
    postbox = Postbox()
    async with serving(postbox):
        silent = await start()
        object.__setattr__(silent.parts.mails, "_available", True)  # as one with a server, whose sender has died
        ada = await register(silent.client, email=f"{new_name()}@example.org")

        other = await start(smtp_url=postbox.url, mail_from=FROM)

        link = token(await postbox.to(ada.email or ""), "verify-email")
        assert (await use(other.client, "/email/verify", link)).status_code == 204
        assert len(postbox.mails) == 1
