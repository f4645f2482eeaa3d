"""The server that mail is handed to, by SMTP; every step has a deadline, every certificate is verified.

Certificates are verified against those that the system trusts, or those in SSL_CERT_FILE, as OpenSSL has it.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import cast
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from app.setting_values import LOOPBACK

CONNECT_SECONDS = 20.0  # for the connection, TLS, the greeting and the sign-in together
STEP_SECONDS = 10.0  # for each answer but the last
DATA_SECONDS = 45.0  # for the answer to the whole mail: some servers scan it first (RFC 5321 §4.5.3.2.6 gives more)
LETTER_SECONDS = 60.0  # for a letter from MAIL FROM to that answer
GOODBYE_SECONDS = 1.0  # for the answer to QUIT: what was accepted stays accepted without

SUBMISSION, SUBMISSION_TLS = 587, 465  # ports (RFC 6409 §3.1, RFC 8314 §3.3)
CLOSING = 421  # the server ends the connection whatever was asked (RFC 5321 §3.8)
OPERATORS = (530, 534, 535, 538)  # it wants a sign-in, or another one (RFC 4954 §6): no fault of a letter
ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")  # status code (RFC 3463) that an answer begins with
FAILURES = (SMTPException, OSError, TimeoutError)


class ServerAway(Exception):
    """There is no server, it has gone, or it does not let us in: whatever it is, no letter is to blame."""

    def __init__(self, step: str, error: Exception) -> None:
        self.reason = f"{step}: {_reason(error)}"
        super().__init__(self.reason)


class Broken(ServerAway):
    """The connection broke, or was closed to us, when the server knew whom a letter is for: it may be that letter."""


class Refused(Exception):
    """The server has refused a letter; `permanent` if it would again."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent


class Connection:
    """A connection on which letters are sent one after the other."""

    def __init__(self, client: SMTP, sender: str) -> None:
        self._client = client
        self._sender = sender
        self._dirty = False  # a letter was refused: the server still remembers its sender

    async def send(self, recipient: str, message: bytes) -> None:
        """Returns once the server has accepted it.

        Raises:
            Refused: it has not.
            ServerAway: that is not known, or nothing is accepted from us; the connection is not to be used again. If it
                may be for the letter, it is Broken.
        """
        options, encoding = [], "ascii"
        if not recipient.isascii():
            if not self._client.supports_extension("smtputf8"):
                raise Refused("the server offers no SMTPUTF8", permanent=True)
            options, encoding = ["SMTPUTF8", "BODY=8BITMIME"], "utf-8"
        step = "MAIL FROM"
        try:
            async with asyncio.timeout(LETTER_SECONDS):
                if self._dirty:
                    await self._client.rset()
                await self._client.mail(self._sender, options=options, encoding=encoding)
                self._dirty = True
                step = "RCPT TO"
                await self._client.rcpt(recipient, encoding=encoding)
                step = "DATA"
                await self._client.data(message, timeout=DATA_SECONDS)
                self._dirty = False
        except (SMTPRecipientRefused, SMTPDataError) as refusal:
            if refusal.code in (CLOSING, *OPERATORS) or not 400 <= refusal.code < 600:  # noqa: PLR2004 - no refusal
                raise Broken(step, refusal) from refusal
            permanent = refusal.code >= 500  # noqa: PLR2004 - RFC 5321 §4.2.1
            raise Refused(f"{step}: {_reason(refusal)}", permanent=permanent) from refusal
        except FAILURES as error:
            raise (ServerAway if step == "MAIL FROM" else Broken)(step, error) from error


class Smtp:
    """The server of SMTP_URL."""

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "smtps"
        self._port = parts.port or (SUBMISSION_TLS if self._tls else SUBMISSION)
        self._user, self._password = unquote(parts.username or "") or None, unquote(parts.password or "")
        self._sender = sender
        self._must_upgrade = parts.scheme == "smtp+starttls" or (
            self._user is not None and self._host not in LOOPBACK and not self._tls
        )

    @property
    def private(self) -> bool:
        """Nobody else on the way can read along, or cut the offer of encryption out of the server's answer."""
        return self._tls or self._must_upgrade or self._host in LOOPBACK

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection, signed in where there are credentials.

        Raises:
            ServerAway: there is none to be had.
        """
        client = SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password if self._user else None,
            local_hostname=self._sender.rpartition("@")[2],  # asking the system for its name may take for ever
            timeout=STEP_SECONDS,
            use_tls=self._tls,
            start_tls=False if self._tls else self._must_upgrade or None,  # None: where it is offered
        )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.connect()
                if client.is_ehlo_or_helo_needed:
                    await client.ehlo()
        except FAILURES as error:
            client.close()
            raise ServerAway("connection", error) from error
        transport = cast("asyncio.Transport", client.transport)
        try:
            yield Connection(client, self._sender)
            with suppress(*FAILURES):
                await client.quit(timeout=GOODBYE_SECONDS)
        finally:
            client.close()
            transport.abort()


def _reason(error: Exception) -> str:
    """What is said of it in logs: nothing of the server's own words, for they may repeat an address."""
    if isinstance(error, SMTPResponseException):
        enhanced = ENHANCED.match(error.message)
        return f"{error.code} {enhanced[0]}" if enhanced else str(error.code)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = error.__cause__ or error
    if isinstance(cause, SMTPServerDisconnected):
        return "the connection broke"
    if isinstance(cause, OSError):
        return getattr(cause, "verify_message", None) or cause.strerror or str(cause) or type(cause).__name__
    return str(cause)
