"""A real SMTP server in the loop of the test: what it accepts, what it refuses, and how it breaks."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from app.cli import children

PATIENCE = 20.0  # seconds until a test says that what it waits for will not happen; no test waits as long
USER, PASSWORD = "gatehouse@example.org", "p@ss/word:%"
ACCEPTED = "250 2.0.0 accepted"

Behaviour = Callable[[SMTP], Awaitable[str]]  # what happens when a whole mail is there; the answer


@dataclass(frozen=True)
class Mail:
    """A mail as it has arrived."""

    sender: str
    recipients: list[str]
    raw: bytes
    encrypted: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(message, EmailMessage)
        return message

    def part(self, subtype: str) -> str:
        body = self.message.get_body((subtype,))
        assert body is not None
        text = body.get_content()
        assert isinstance(text, str)
        return text


@dataclass
class Postbox:
    """Accepts everything, unless a test says otherwise; `rcpt` and `data` hold what is answered first."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    rcpt: deque[str] = field(default_factory=deque)
    data: deque[str | Behaviour] = field(default_factory=deque)
    sender_refused: str | None = None
    rude: bool = False  # hangs up instead of saying goodbye
    connections: int = 0
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def mail(self, number: int = 1) -> Mail:
        """The mail of this number, once it is there."""
        async with asyncio.timeout(PATIENCE), self.arrived:
            await self.arrived.wait_for(lambda: len(self.mails) >= number)
        return self.mails[number - 1]

    def of(self, address: str) -> list[Mail]:
        """What has come for this address."""
        return [mail for mail in self.mails if address in mail.recipients]

    async def to(self, address: str, number: int = 1) -> Mail:
        """The mail of this number for this address, once it is there."""
        async with asyncio.timeout(PATIENCE), self.arrived:
            await self.arrived.wait_for(lambda: len(self.of(address)) >= number)
        return self.of(address)[number - 1]

    # ---- what aiosmtpd asks -----------------------------------------------------------------------------------

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.sender_refused:
            return self.sender_refused
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.rcpt and (answer := self.rcpt.popleft()) != ACCEPTED:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_QUIT(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.rude:
            return await breaks(server)
        return "221 2.0.0 goodbye"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.data:
            behaviour = self.data.popleft()
            answer = behaviour if isinstance(behaviour, str) else await behaviour(server)
            if not answer.startswith("2"):
                return answer
        encrypted = transport_of(server).get_extra_info("sslcontext") is not None
        user = session.auth_data and session.auth_data.login.decode()
        self.mails.append(Mail(envelope.mail_from, list(envelope.rcpt_tos), envelope.original_content, encrypted, user))
        async with self.arrived:
            self.arrived.notify_all()
        return ACCEPTED


def knows(_: SMTP, __: Any, ___: Any, ____: str, given: LoginPassword) -> AuthResult:
    """One user there is."""
    return AuthResult(
        success=(given.login, given.password) == (USER.encode(), PASSWORD.encode()), handled=False, auth_data=given
    )


class Protocol(SMTP):
    """aiosmtpd's, which does not ask the system for its name."""

    def __init__(self, postbox: Postbox, **options: Any) -> None:
        super().__init__(postbox, hostname="mail.example.org", loop=asyncio.get_running_loop(), **options)


@asynccontextmanager
async def serving(
    postbox: Postbox, *, port: int = 0, implicit_tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncGenerator[Postbox]:
    """Listens; whoever is connected at the end is cut off."""
    protocols: list[Protocol] = []

    def protocol() -> Protocol:
        protocols.append(Protocol(postbox, **options))
        return protocols[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port, ssl=implicit_tls)
    postbox.port = server.sockets[0].getsockname()[1]
    try:
        yield postbox
    finally:
        server.close()
        for each in protocols:
            if each.transport is not None:
                transport_of(each).abort()
        await asyncio.sleep(0)


@contextmanager
def serving_in_a_thread(postbox: Postbox) -> Generator[Postbox]:
    """For what has a loop of its own."""
    postbox.port = children.free_port()
    controller = Controller(postbox, hostname="127.0.0.1", port=postbox.port, server_hostname="mail.example.org")
    controller.start()
    try:
        yield postbox
    finally:
        controller.stop()


def transport_of(server: SMTP) -> asyncio.Transport:
    return cast("asyncio.Transport", server.transport)


async def breaks(server: SMTP) -> str:
    """The connection goes before an answer."""
    transport_of(server).abort()
    return "451 nobody hears this"


def hanging(over: asyncio.Event) -> Behaviour:
    """The answer does not come before this."""

    async def hang(_: SMTP) -> str:
        await over.wait()
        return "451 nobody hears this"

    return hang


# ---- certificates -------------------------------------------------------------------------------------------------


def certificates(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """An authority's certificate, and what a server at 127.0.0.1 has of it."""
    authority = trustme.CA()
    trusted = directory / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return trusted, context
