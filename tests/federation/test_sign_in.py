"""A sign-in with a provider, from its first step to the session."""

from tests.federation.kit import Browser
from tests.federation.provider import OpenIdProvider


async def test_who_comes_for_the_first_time_gets_an_account(browser: Browser, op: OpenIdProvider) -> None:
    ada = op.register(email="ada@example.org", email_verified=True, name="Ada", preferred_username="ada")

    session = await browser.signed_in(op, ada)

    assert session.body["user"]["username"] == "ada"
