"""What a session that began at a provider has to do with the provider from then on."""

from tests.federation.kit import Browser, link
from tests.federation.lies import ANYWHERE
from tests.federation.provider import MISSING, OpenIdProvider
from tests.federation.realm import Realm


async def test_a_session_goes_on_while_its_provider_is_away(browser: Browser, op: OpenIdProvider) -> None:
    """Nothing of it is asked of the provider, neither to serve it nor to refresh it."""
    session = await browser.signed_in(op, op.register())
    op.told = {each: ANYWHERE["500"]("") for each in ("discovery", "keys", "token", "userinfo")}

    session = await session.refreshed()

    assert (await session.ask("GET", "/me")).status_code == 200


async def test_a_session_goes_on_when_its_identity_is_unlinked(browser: Browser, realm: Realm) -> None:
    one, other = realm.take(), realm.take()
    session = await browser.signed_in(one, one.register())
    assert (await link(session, *await browser.code(other, other.register()))).status_code == 201
    first, _ = (await session.ask("GET", "/me/identities")).json()["items"]

    assert (await session.ask("DELETE", f"/me/identities/{first['id']}")).status_code == 204

    assert (await (await session.refreshed()).ask("GET", "/me")).status_code == 200


async def test_where_no_time_is_said_the_sign_in_is_the_present_login(browser: Browser, op: OpenIdProvider) -> None:
    """GitHub never says when it last asked, nor does an OpenID provider have to."""
    op.claims["auth_time"] = MISSING

    session = await browser.signed_in(op, op.register())

    assert (await session.ask("POST", "/me/mfa/totp")).status_code == 201
