"""What a browser holds of many sign-ins, and what no browser has of us."""

from tests.federation.kit import PREFIX, Browser
from tests.federation.provider import OpenIdProvider


async def test_cookies_that_are_none_of_ours_break_nothing(browser: Browser, op: OpenIdProvider) -> None:
    """Only such names are written back as ours have; others, of whatever characters, stay as they are."""
    browser.cookies = {f"{PREFIX}{name}": "x" for name in ('a"b', "a b", "@", "(x)", "abc", "123456789")}
    theirs = set(browser.cookies)

    await browser.signed_in(op, op.register())

    assert set(browser.cookies) == theirs
