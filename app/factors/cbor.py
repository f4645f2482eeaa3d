"""What WebAuthn's structures need of CBOR (RFC 8949), told from what it can do to who decodes it.

A library that follows shared references (tags 28 and 29) makes gigabytes of two hundred bytes.
"""

MAX_DEPTH = 4  # an attestation object holds a statement, and that a list of certificates
BYTES, TEXT, LIST, MAP, TAG = range(2, 7)  # major types; 0 and 1 are numbers, 7 the rest (§3.1)
LONGEST_NUMBER = 8  # bytes


class NotPlain(Exception):
    """Tags, lengths that come later, more nesting than is needed, or no CBOR at all."""


def end_of(data: bytes, start: int = 0, depth: int = 0) -> int:
    """Where the item that begins there ends; NotPlain if it is none."""
    if start >= len(data) or depth > MAX_DEPTH:
        raise NotPlain
    major, short = data[start] >> 5, data[start] & 0x1F
    at = start + 1
    argument = short
    if short >= 24:  # noqa: PLR2004 - §3: the argument follows, in 1, 2, 4 or 8 bytes
        size = 1 << (short - 24)
        if size > LONGEST_NUMBER or at + size > len(data):
            raise NotPlain
        argument = int.from_bytes(data[at : at + size], "big")
        at += size
    if major == TAG:
        raise NotPlain
    if major in (BYTES, TEXT):
        at += argument
    elif major in (LIST, MAP):
        if argument > len(data):
            raise NotPlain
        for _ in range(argument * (2 if major == MAP else 1)):
            at = end_of(data, at, depth + 1)
    if at > len(data):
        raise NotPlain
    return at


def check(data: bytes) -> None:
    """Raises NotPlain unless this is one plain item and nothing else."""
    if end_of(data) != len(data):
        raise NotPlain
