"""What is mailed to somebody who signs in at a provider."""

from httpx import AsyncClient

from tests.federation.kit import Browser, link
from tests.federation.realm import Realm
from tests.identity.mailkit import link_in, proved, use
from tests.kit import log_in, new_name
from tests.mail.kit import Postbox

CHOOSES = "choose a new password"


def last(postbox: Postbox, address: str) -> str:
    """The newest letter with a link for "this wasn't me", as text without line breaks, and as HTML."""
    mail = next(mail for mail in reversed(postbox.of(address)) if "/not-me?" in mail.part("plain"))
    return " ".join((mail.part("plain") + mail.part("html")).split())


async def test_nobody_is_promised_a_new_password_who_has_none_here(
    browser: Browser, realm: Realm, app: AsyncClient, postbox: Postbox
) -> None:
    """The link of a local user's letter leads to a new password, that of a provider's user signs everybody out."""
    op, other = realm.take(), realm.take()
    email = f"{new_name()}@example.org"
    session = await browser.signed_in(op, op.register(email=email, email_verified=True))
    ada = await proved(app, postbox)

    for each, somebody in ((session, other.register()), (await log_in(app, ada), other.register())):
        assert (await link(each, *await browser.code(other, somebody))).status_code == 201

    await link_in(postbox, str(ada.email), "not-me")
    assert last(postbox, str(ada.email)).count(CHOOSES) == 2
    token = await link_in(postbox, email, "not-me")
    assert CHOOSES not in last(postbox, email)
    assert (await use(app, "/password/not-me", token)).status_code == 204
    assert (await session.ask("GET", "/me")).status_code == 401
