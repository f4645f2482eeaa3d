"""What is plain is let through as a library writes it; nothing else, and nothing at any length."""

from contextlib import suppress

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.factors import cbor
from app.factors.cbor import NotPlain
from tests.identity.webauthnkit import laughs
from tests.properties import by_no_clock

LEAVES = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.text() | st.binary()
PLAIN = st.recursive(
    LEAVES,
    lambda within: st.lists(within, max_size=5) | st.dictionaries(st.text() | st.integers(-9, 9), within, max_size=5),
    max_leaves=20,
)


def depth(item: object) -> int:
    if isinstance(item, dict):
        item = [*item.values(), 0]
    return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0


@by_no_clock
@given(PLAIN.filter(lambda item: depth(item) <= cbor.MAX_DEPTH), st.binary(max_size=40))
def test_what_a_library_writes_ends_where_it_ends(item: object, behind: bytes) -> None:
    written = cbor2.dumps(item)

    assert cbor.end_of(written + behind) == len(written)
    cbor.check(written)
    with pytest.raises(NotPlain):
        cbor.end_of(written[:-1])
    with pytest.raises(NotPlain):
        cbor.check(written + b"\x00")


@by_no_clock
@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_refused(data: bytes) -> None:
    with suppress(NotPlain):
        cbor.check(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",  # a tag without an item
        b"\xc0\x60",  # a tag
        b"\x82\xc0\x60",  # one that is counted as an item
        b"\xd8\x1c\x80",  # what a shared reference is made of
        b"\x9f\xff",  # lengths that come later: of a list
        b"\xbf\xff",  # of a map
        b"\x5f\x41a\xff",  # of bytes
        b"\x7f\x61a\xff",  # of a text
        b"\xff",
        b"\x1c",  # arguments that are reserved
        b"\x1f",
        b"\x18",  # arguments that are cut off
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",  # lengths beyond everything
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x42a",
        b"\xa1\x01",  # a key without a value
        laughs(64),
    ],
    ids=bytes.hex,
)
def test_what_is_not_plain_is_refused(data: bytes) -> None:
    with pytest.raises(NotPlain):
        cbor.check(data)


def test_it_is_as_deep_as_an_attestation_and_no_deeper() -> None:
    inner: object = 0
    for _ in range(cbor.MAX_DEPTH):
        inner = [inner]
    cbor.check(cbor2.dumps(inner))

    for deeper in (cbor2.dumps([inner]), cbor2.dumps({"x": inner}), b"\x81" * 100_000):
        with pytest.raises(NotPlain):
            cbor.check(deeper)
