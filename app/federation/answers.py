"""What providers answer, read as little as needed: JSON of a known shape, or it is none."""

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from app.client import printable
from app.errors import Unavailable
from app.outbound import Answer, Outbound, OutboundError

SECONDS = 10.0  # for all that a provider is asked for one request of ours
PLACES = 50  # questions to one provider at a time: whoever floods us shall not flood it, nor use up our sockets
MOST_BYTES = 1 << 18  # 256 KiB: key sets have some kB, userinfo fewer
OK = 200
JSON = ("application/json", "application/jwk-set+json")

WORD = re.compile(r"[a-z_]{1,64}")
TOKEN = re.compile(r"[!-~]+")  # RFC 6749 appendix A.12, without the blank: RFC 6750 §2.1 knows none

T = TypeVar("T")


class ProviderUnusable(Unavailable):
    """The provider cannot be asked, or answers what cannot be used; `reason` is for the log and the operator."""

    def __init__(self, reason: str) -> None:
        super().__init__("The sign-in provider cannot be used at the moment.")
        self.reason = printable(reason)[:200]  # of a header it may have what turns a terminal's letters red


class Refusal(Struct, frozen=True):
    error: str = ""


class Asking:
    """Questions to a provider."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._places = asyncio.Semaphore(PLACES)

    async def ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> Answer:
        """Raises ProviderUnusable where nothing is answered that can be looked at."""
        try:
            async with self._places:
                return await self._outbound.ask(
                    method,
                    url,
                    seconds=SECONDS,
                    headers={"Accept": "application/json", **(headers or {})},
                    content=content,
                    most=MOST_BYTES,
                )
        except OutboundError as error:
            raise ProviderUnusable(f"{type(error).__name__}: {error}") from None

    def read(self, answer: Answer, kind: type[T], what: str) -> T:
        """The JSON of an answer that went well.

        Raises:
            ProviderUnusable: it did not, or is something else; what it says is not shown and not logged.
        """
        if answer.status != OK or answer.media_type not in JSON:
            raise ProviderUnusable(f"{what}: status {answer.status}, {answer.media_type or 'no type'}")
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ProviderUnusable(f"{what}: not of the shape that it should have") from None

    def refusal(self, answer: Answer) -> str:
        """What is wrong, in the words of RFC 6749 §5.2; nothing where it is said in no such words."""
        try:
            error = msgspec.json.decode(answer.content, type=Refusal).error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return ""
        return error if WORD.fullmatch(error) else ""


def form(fields: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(fields).encode()


def basic(client_id: str, client_secret: str) -> str:
    """RFC 6749 §2.3.1: both are form-encoded before they are joined."""
    pair = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
    return f"Basic {b64encode(pair.encode()).decode()}"


def bearer(access_token: str) -> dict[str, str]:
    """The header that shows it (RFC 6750 §2.1).

    Raises:
        ProviderUnusable: it fits into none.
    """
    if not TOKEN.fullmatch(access_token):
        raise ProviderUnusable("tokens: an access token that no header takes")
    return {"Authorization": f"Bearer {access_token}"}
