"""Codes on paper, each good once in the place of an authenticator."""

import hashlib
import re
import secrets

CODES = 10  # what the contract says
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base32: no i, l, o, u, which are misread
GROUP, GROUPS = 4, 7  # characters: 140 bits in all; a digest is enough from 112 on, and ASVS 5.0 (11.5.1) asks 128
MISREAD = str.maketrans({"o": "0", "i": "1", "l": "1"})
APART = re.compile(r"[\s-]")


def make() -> list[str]:
    return ["-".join(_group() for _ in range(GROUPS)) for _ in range(CODES)]


def _group() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(GROUP))


def digest(user_id: int, code: str) -> bytes:
    """What is kept of a code; however it is grouped, and whatever of it is misread."""
    plain = APART.sub("", code).lower().translate(MISREAD)
    return hashlib.sha256(f"gatehouse recovery code {user_id} {plain}".encode(errors="replace")).digest()
