"""What WebAuthn's structures need of CBOR (RFC 8949), told from what it can do to who decodes it.

A library that follows shared references (tags 28 and 29) makes gigabytes of two hundred bytes.
"""

MAX_MEMBERS = 64  # of a map or list: a key has five, a chain of certificates ten
MAX_DEPTH = 4  # an attestation object holds a statement, and that a list of certificates
POSITIVE, NEGATIVE, BYTES, TEXT, LIST, MAP, TAG = range(7)  # major types; 7 is the rest (§3.1)
LONGEST_NUMBER = 8  # bytes


class NotPlain(Exception):
    """Tags, lengths that come later, more nesting or members than are needed, strange names, or no CBOR at all."""


def end_of(data: bytes, start: int = 0, depth: int = 0) -> int:
    """Where the item that begins there ends; NotPlain if it is none."""
    if start >= len(data) or depth > MAX_DEPTH:
        raise NotPlain
    major, argument, at = _head(data, start)
    if major in (BYTES, TEXT):
        at += argument
    elif major in (LIST, MAP):
        if argument > MAX_MEMBERS:
            raise NotPlain
        for _ in range(argument):
            if major == MAP:
                at = _end_of_name(data, at, depth + 1)
            at = end_of(data, at, depth + 1)
    if at > len(data):
        raise NotPlain
    return at


def _head(data: bytes, start: int) -> tuple[int, int, int]:
    """Major type and argument of an item, and where they end."""
    major, short = data[start] >> 5, data[start] & 0x1F
    at = start + 1
    if major == TAG:
        raise NotPlain
    if short < 24:  # noqa: PLR2004 - §3: else the argument follows, in 1, 2, 4 or 8 bytes
        return major, short, at
    size = 1 << (short - 24)
    if size > LONGEST_NUMBER or at + size > len(data):
        raise NotPlain
    return major, int.from_bytes(data[at : at + size], "big"), at + size


def _end_of_name(data: bytes, start: int, depth: int) -> int:
    """Names are numbers and texts; of others the hashes may collide."""
    if start >= len(data) or data[start] >> 5 not in (POSITIVE, NEGATIVE, TEXT):
        raise NotPlain
    return end_of(data, start, depth)


def check(data: bytes) -> None:
    """Raises NotPlain unless this is one plain item and nothing else."""
    if end_of(data) != len(data):
        raise NotPlain
