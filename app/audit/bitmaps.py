"""How many are in a set that is kept as a bit string: each id sets one bit, and OR unites two sets.

Linear counting (Whang et al., 1990): the share of zeros tells the number. With 2^17 bits (16 KiB, a few hundred once
PostgreSQL has compressed it, where there are few) it is off by one in 26 cases at 100, by some 2 at 1,000, by 0.3 % at
100,000 and by 1.6 % at 1,000,000 (standard errors); one and a half million are the most that can be told.
"""

import math
from collections.abc import Iterable

from asyncpg import BitString

BITS = 131_072


def bitmap(positions: Iterable[int]) -> BitString:
    """The set of these bits."""
    found = bytearray(BITS // 8)
    for position in positions:
        found[position >> 3] |= 0x80 >> (position & 7)
    return BitString.frombytes(bytes(found), BITS)


def number(ones: int) -> int:
    """How many ids set so many bits, most probably."""
    zeros = max(1, BITS - ones)
    return round(BITS * math.log(BITS / zeros))
