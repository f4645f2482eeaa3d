"""Secrets that can be recognised, in whatever form they are, and the places where they might have been left."""

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import asyncpg
from valkey.asyncio import Valkey

from app import base64url
from app.keys.opaque import MAC
from tests.identity.mailkit import LINK
from tests.mail.kit import Mail

WINDOW, STRIDE = 16, 8  # characters: a part of 24 or more gives a secret away, wherever in it it begins
SHORT = 12  # characters: what is no longer stands somewhere by chance, and is found as a word of its own alone


@dataclass
class Canaries:
    """Finds again what it was given."""

    _names: dict[bytes, str] = field(default_factory=dict)  # by a form, in lower case
    _words: dict[str, re.Pattern[bytes]] = field(default_factory=dict)

    def keep(self, name: str, secret: str | bytes) -> None:
        """A password, or whatever else is secret from its first character to its last."""
        plain = secret.encode() if isinstance(secret, str) else secret
        self.keep_random(name, plain)
        digest = hashlib.sha256(plain)
        for each in (digest.digest(), digest.hexdigest().encode()):
            self._names.setdefault(each.lower(), f"{name} (SHA-256)")

    def keep_random(self, name: str, secret: str | bytes) -> None:
        """256 random bits: their digest tells nobody anything, and may be kept to know them again."""
        for part in windows(secret.encode() if isinstance(secret, str) else secret):
            for form, found in forms(part):
                self._names.setdefault(found.lower(), f"{name} ({form})")

    def keep_token(self, name: str, token: str) -> None:
        """One of app/keys/opaque.py: what it says is an id that others may know; its MAC is the secret."""
        body = token.partition("_")[2]
        mac = base64url.decode(body)[-MAC:]
        self.keep(name, body[-(MAC * 4 // 3) :])
        self.keep(name, mac)

    def keep_jwt(self, name: str, token: str) -> None:
        """Its signature: what it claims are ids and rights, and a page's cursor may spell the same id in base64."""
        signature = token.rpartition(".")[2]
        self.keep(name, signature)
        self.keep(name, base64url.decode(signature))

    def keep_seed(self, name: str, seed: str) -> None:
        """In base32."""
        self.keep(name, seed)
        self.keep(name, base64.b32decode(seed))

    def keep_recovery_code(self, name: str, code: str) -> None:
        for written in (code, code.replace("-", ""), code.replace("-", " ")):
            self.keep(name, written)

    def keep_digits(self, name: str, code: str) -> None:
        """Of an authenticator: six digits stand in longer numbers and in fractions of seconds as well."""
        assert len(code) <= SHORT
        self._words[name] = re.compile(rb"(?<![\w.\\])" + re.escape(code.encode()) + rb"(?!\w)")

    def found_in(self, place: bytes) -> list[str]:
        """What of them stands there, and in what form."""
        lower = place.lower()
        beginnings = {form[:SHORT] for form in self._names}  # or the place would be gone through for each form
        begun = {part for at in range(len(lower)) if (part := lower[at : at + SHORT]) in beginnings}
        found = {
            name for form, name in self._names.items() if (len(form) < SHORT or form[:SHORT] in begun) and form in lower
        }
        return sorted(found | {name for name, word in self._words.items() if word.search(place)})

    def left_in(self, places: Mapping[str, bytes]) -> dict[str, list[str]]:
        """What of them stands where; nothing at all is what one hopes for."""
        found = {name: self.found_in(place) for name, place in places.items()}
        return {name: names for name, names in found.items() if names}


def windows(plain: bytes) -> Iterator[bytes]:
    """Parts of a secret, at least one of which is in any part of it that is half as long again."""
    last = max(0, len(plain) - WINDOW)
    for start in {*range(0, last, STRIDE), last}:
        yield plain[start : start + WINDOW]


def forms(plain: bytes) -> Iterator[tuple[str, bytes]]:
    """How some bytes may stand within others."""
    yield "plain", plain
    yield "reversed", plain[::-1]
    yield "hex", binascii.hexlify(plain)
    yield "urlencoded", quote(plain, safe="").encode()
    yield from (("base32", each) for each in within(plain, base64.b32encode, 5))
    for encoded in within(plain, base64.b64encode, 6):
        yield "base64", encoded
        yield "base64", encoded.translate(bytes.maketrans(b"+/", b"-_"))


def within(plain: bytes, encode: Callable[[bytes], bytes], bits: int) -> Iterator[bytes]:
    """What is the same of some bytes whatever stands around them, by an encoding of so many bits a character."""
    for before in range(math.lcm(8, bits) // 8):  # bytes of a group, which may have begun with others
        whole = encode(bytes(before) + plain)
        yield whole[-(-8 * before // bits) : 8 * (before + len(plain)) // bits]


# ---- places ---------------------------------------------------------------------------------------------------------


async def stores(database_url: str, valkey_url: str) -> dict[str, bytes]:
    """All that stands in both."""
    return {
        "PostgreSQL": b"\n".join([line async for line in _rows(database_url)]),
        "Valkey": b"\n".join([each async for each in _entries(valkey_url)]),
    }


async def _rows(url: str) -> Any:
    """Every row of every table, as text: the bytes of a bytea in hex, and as they are."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            r"""
            SELECT oid::regclass::text AS name FROM pg_class
            WHERE relkind IN ('r', 'm', 'p') AND relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
            """
        )
        for table in tables:
            for (row,) in await connection.fetch(f"SELECT t::text FROM {table['name']} AS t"):
                yield row.encode()
                for hexadecimal in re.findall(r"\\x((?:[0-9a-f]{2})+)", row):
                    yield bytes.fromhex(hexadecimal)
    finally:
        await connection.close()


async def _entries(url: str) -> Any:
    """Every key and every value; one of a type that is not known here is an error."""
    async with Valkey.from_url(url) as valkey:
        reads: dict[bytes, Callable[[bytes], Awaitable[Any]]] = {
            b"string": valkey.get,
            b"hash": valkey.hgetall,
            b"set": valkey.smembers,
            b"list": lambda key: valkey.lrange(key, 0, -1),
            b"zset": lambda key: valkey.zrange(key, 0, -1),
            b"stream": valkey.xrange,
        }
        for key in await valkey.keys("*"):
            yield key
            kind = await valkey.type(key)
            for piece in pieces(None if kind == b"none" else await reads[kind](key)):  # none: its life has ended
                yield piece


def pieces(value: Any) -> Iterator[bytes]:
    """The bytes of what Valkey answers, however they are packed."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, Mapping):
        yield from pieces([*value.keys(), *value.values()])
    elif value is not None:
        for member in value:
            yield from pieces(member)


def letters(mails: list[Mail]) -> bytes:
    """What is mailed, but for the tokens of the links, each in the place where it belongs."""
    return b"\n".join(LINK.sub(r"\1", each).encode() for mail in mails for each in _texts(mail))


def _texts(mail: Mail) -> Iterator[str]:
    yield from (f"{name}: {value}" for name, value in mail.message.items())
    yield mail.part("plain")
    yield mail.part("html")
