"""What providers answer, read as little as needed: JSON of a known shape, or it is none."""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec
import structlog
from msgspec import Struct

from app.errors import Unavailable
from app.outbound import Answer, Outbound, OutboundError

log = structlog.get_logger(__name__)

SECONDS = 10.0  # for all that a provider is asked for one request of ours
MOST_BYTES = 1 << 18  # 256 KiB: key sets have some kB, userinfo fewer
AWAY = "The sign-in provider cannot be used at the moment."
OK = 200
JSON = ("application/json", "application/jwk-set+json")

WORD = re.compile(r"[a-z_]{1,64}")

T = TypeVar("T")


class Refusal(Struct, frozen=True):
    error: str = ""


class Asking:
    """Questions to one provider.

    Args:
        outbound: the way out.
        name: of the provider, for the log.
    """

    def __init__(self, outbound: Outbound, name: str) -> None:
        self._outbound = outbound
        self._name = name

    async def ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> Answer:
        """Raises Unavailable, with a line in the log, where nothing is answered that can be looked at."""
        try:
            return await self._outbound.ask(
                method,
                url,
                seconds=SECONDS,
                headers={"Accept": "application/json", **(headers or {})},
                content=content,
                most=MOST_BYTES,
            )
        except OutboundError as error:
            raise self.unusable(f"{type(error).__name__}: {error}") from None

    def read(self, answer: Answer, kind: type[T], what: str) -> T:
        """The JSON of an answer that went well.

        Raises:
            Unavailable: it did not, or is something else; what it says is not shown and not logged.
        """
        if answer.status != OK or answer.media_type not in JSON:
            raise self.unusable(f"{what}: status {answer.status}, {answer.media_type or 'no type'}")
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self.unusable(f"{what}: not of the shape that it should have") from None

    def refusal(self, answer: Answer) -> str:
        """What is wrong, in the words of RFC 6749 §5.2; nothing where it is said in no such words."""
        try:
            error = msgspec.json.decode(answer.content, type=Refusal).error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return ""
        return error if WORD.fullmatch(error) else ""

    def unusable(self, reason: str) -> Unavailable:
        log.warning("federation.provider_unusable", provider=self._name, reason=reason[:200])
        return Unavailable(AWAY)


def form(fields: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(fields).encode()


def basic(client_id: str, client_secret: str) -> str:
    """RFC 6749 §2.3.1: both are form-encoded before they are joined."""
    pair = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
    return f"Basic {b64encode(pair.encode()).decode()}"
