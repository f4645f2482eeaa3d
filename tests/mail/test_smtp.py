"""The way to the server: encrypted where it has to be, never to somebody else."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.mail.smtp import Smtp
from tests.kit import until
from tests.mail.conftest import Office, letter
from tests.mail.kit import PASSWORD, USER, Postbox, certificates, knows, serving

CREDENTIALS = "gatehouse%40example.org:p%40ss%2Fword%3A%25"
TLS = pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls"])


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    return certificates(tmp_path)


@pytest.fixture
def context(certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server has, whose authority SSL_CERT_FILE names."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    return certificate[1]


@pytest.fixture
async def upgrading(context: ssl.SSLContext) -> AsyncIterator[Postbox]:
    """Offers STARTTLS, and lets nobody sign in without."""
    async with serving(Postbox(), tls_context=context, authenticator=knows, auth_required=True) as postbox:
        yield postbox


@TLS
async def test_mail_goes_by_starttls_with_user_and_password(office: Office, upgrading: Postbox, scheme: str) -> None:
    await office.write(letter())

    await office.start(smtp_url=f"{scheme}://{CREDENTIALS}@127.0.0.1:{upgrading.port}")

    mail = await upgrading.mail()
    assert (mail.encrypted, mail.user) == (True, USER)


async def test_mail_goes_by_tls_from_the_start(office: Office, context: ssl.SSLContext) -> None:
    async with serving(Postbox(), implicit_tls=context, authenticator=knows, auth_require_tls=False) as postbox:
        await office.write(letter())

        at_work = await office.start(smtp_url=f"smtps://{CREDENTIALS}@127.0.0.1:{postbox.port}")

        mail = await postbox.mail()
        assert (mail.encrypted, mail.user) == (True, USER)
        await at_work.stop()


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
async def test_encryption_asks_for_no_password(office: Office, context: ssl.SSLContext, scheme: str) -> None:
    options: dict[str, Any] = {"implicit_tls" if scheme == "smtps" else "tls_context": context}
    async with serving(Postbox(), **options) as postbox:
        await office.write(letter())

        at_work = await office.start(smtp_url=f"{scheme}://127.0.0.1:{postbox.port}")

        mail = await postbox.mail()
        assert (mail.encrypted, mail.user) == (True, None)
        await at_work.stop()


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
async def test_a_certificate_that_nobody_has_signed_is_not_accepted(
    office: Office, certificate: tuple[Path, ssl.SSLContext], scheme: str
) -> None:
    options: dict[str, Any] = {"implicit_tls": certificate[1]} if scheme == "smtps" else {"tls_context": certificate[1]}
    async with serving(Postbox(), **options) as postbox:
        await office.write(letter())
        with capture_logs() as logs:
            at_work = await office.start(smtp_url=f"{scheme}://127.0.0.1:{postbox.port}")
            await until(lambda: at_work._failures)
        await at_work.stop()

    assert "certificate" in logs[0]["reason"]
    assert postbox.mails == []


async def test_a_certificate_of_somebody_else_is_not_accepted(office: Office, context: ssl.SSLContext) -> None:
    async with serving(Postbox(), implicit_tls=context) as postbox:
        await office.write(letter())
        with capture_logs() as logs:
            at_work = await office.start(smtp_url=f"smtps://localhost:{postbox.port}")
            await until(lambda: at_work._failures)
        await at_work.stop()

    assert "mismatch" in logs[0]["reason"]
    assert postbox.mails == []


async def test_where_encryption_is_required_nothing_goes_without(office: Office, postbox: Postbox) -> None:
    """As where somebody in between has cut the offer out of the server's answer."""
    await office.write(letter())
    with capture_logs() as logs:
        at_work = await office.start(smtp_url=f"smtp+starttls://127.0.0.1:{postbox.port}")
        await until(lambda: at_work._failures)

    assert "STARTTLS" in logs[0]["reason"]
    assert postbox.mails == []


@pytest.mark.parametrize(
    ("url", "port", "how"),
    [
        ("smtp://mail.example.org", 587, "as offered"),
        ("smtp://user:pass@mail.example.org", 587, "starttls"),
        ("smtp://user:pass@localhost:25", 25, "as offered"),
        ("smtp://user:pass@[::1]", 587, "as offered"),
        ("smtp+starttls://localhost", 587, "starttls"),
        ("smtps://user:pass@mail.example.org", 465, "tls"),
        ("smtps://localhost:2465", 2465, "tls"),
    ],
)
def test_a_password_goes_nowhere_without_encryption_but_to_this_machine(url: str, port: int, how: str) -> None:
    server = Smtp(url, "no-reply@example.org")

    assert server._port == port
    assert (server._tls, server._must_upgrade) == (how == "tls", how == "starttls")


def test_user_and_password_are_decoded() -> None:
    server = Smtp(f"smtps://{CREDENTIALS}@mail.example.org", "no-reply@example.org")

    assert (server._user, server._password) == (USER, PASSWORD)


async def test_an_address_beyond_ascii_is_written_to_where_the_server_can(office: Office) -> None:
    async with serving(Postbox(), enable_SMTPUTF8=True) as postbox:
        await office.write(letter(recipient="käthe@example.org"))

        at_work = await office.start(smtp_url=postbox.url)

        mail = await postbox.mail()
        assert mail.recipients == ["käthe@example.org"]
        assert mail.message["To"] == "käthe@example.org"
        await at_work.stop()


async def test_an_address_beyond_ascii_is_given_up_where_the_server_cannot(office: Office, postbox: Postbox) -> None:
    await office.write(letter(recipient="käthe@example.org"))

    await office.start()
    await office.emptied()

    assert postbox.mails == []
    assert office.counted("given_up") == 1


async def test_what_is_no_answer_of_smtp_is_no_refusal(office: Office, postbox: Postbox) -> None:
    postbox.data.append("999 what is this")
    await office.write(letter())

    await office.start()

    assert (await office.tried())["last_error"] == "DATA: 999"


async def test_a_server_without_a_goodbye_has_accepted_all_the_same(office: Office, postbox: Postbox) -> None:
    postbox.rude = True
    await office.write(letter())

    at_work = await office.start()
    await office.emptied()
    await at_work.stop()

    assert len(postbox.mails) == 1
    assert at_work._failures == 0
