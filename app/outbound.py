"""The one way by which this service asks others: where it may, once, within a time and a size, and without a trace.

Nothing is followed (a redirect is an answer), kept (no cookie, no connection) or taken from the environment (no proxy).
"""

import importlib
import re
from collections.abc import Iterable, Mapping
from copy import copy
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from app.setting_values import origin_of

MAX_BYTES = 1 << 20  # of an answer: the largest key set or page of users has a tenth of it
URL = re.compile(r"https?://(?:(?![@\\])[!-~])+")  # what is printed, and no user in it


class OutboundError(Exception):
    """An answer that there is none of; what it says is for the log, and holds nothing that was sent."""


class Away(OutboundError):
    """Refused, hung or broken off: it may be otherwise in a moment."""


class Untrusted(OutboundError):
    """TLS fails, or the address is one where nobody of ours lives: a matter of settings, or an attack."""


class TooLong(OutboundError):
    """The answer is larger than any right one."""


class Answer(Struct, frozen=True):
    status: int
    headers: tuple[tuple[str, str], ...]  # names in lower case
    content: bytes

    def header(self, name: str) -> str:
        """The first of this name, or nothing."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def media_type(self) -> str:
        return self.header("content-type").partition(";")[0].strip().lower()


class Outbound:
    """Asks other servers.

    Args:
        named: URLs that the operator's settings name: their origins are asked wherever they are. Any other comes out of
            a document, has to be https, and is asked only at an address of the public Internet.
        ca_file: certificates (PEM) of whom is trusted besides those of the system.
    """

    def __init__(self, named: Iterable[str], ca_file: Path | None = None) -> None:
        self._named = {origin_of(url) for url in named}
        # its library costs 3 MB a process, and one that asks nobody can do without
        self._wire = importlib.import_module("app.wire").Wire(ca_file) if self._named else None

    def narrowed(self, named: Iterable[str]) -> "Outbound":
        """The same way for somebody whose documents may lead to these servers alone, and not to those of others."""
        found = copy(self)
        found._named = {origin_of(url) for url in named}  # noqa: SLF001 - our own
        return found

    async def ask(
        self,
        method: str,
        url: str,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        most: int = MAX_BYTES,
    ) -> Answer:
        """What is answered, whole, within so many seconds.

        Raises:
            Away, Untrusted, TooLong: as they say.
        """
        is_named = self._is_named(url)
        if self._wire is None or not (is_named or url.startswith("https://")):
            raise Untrusted("a URL that no setting names has to be https")
        answer: Answer = await self._wire.exchange(
            method, url, seconds, headers or {}, content, most, checked=not is_named
        )
        return answer

    def _is_named(self, url: str) -> bool:
        if not can_be_asked(url):
            raise Untrusted("not a URL that can be asked")
        return origin_of(url) in self._named


def can_be_asked(url: str) -> bool:
    """With a host that the name service may be asked for, and a port, if any."""
    try:
        parts = urlsplit(url)
        return bool(URL.fullmatch(url)) and parts.port != 0 and bool((parts.hostname or "").encode("idna"))
    except ValueError:
        return False
