"""Keys in hardware have habits of their own, and are as good."""

import cbor2
from httpx import AsyncClient

from tests.identity.webauthnkit import EXTENDED, Key, login_options, registration_options, sign_in
from tests.kit import Person, log_in


async def test_one_may_add_an_extension_by_itself(client: AsyncClient, ada: Person) -> None:
    """As those of which Chromium asks `credProtect`."""
    session, key = await log_in(client, ada), Key()
    protected = cbor2.dumps({"credProtect": 2})

    made = key.made(await registration_options(session), flags=EXTENDED, extensions=protected)

    assert (await session.ask("POST", "/me/passkeys", json=made)).status_code == 201
    assert (await sign_in(client, key.shown(await login_options(client)))).status_code == 200
    shown = key.shown(await login_options(client), flags=EXTENDED, extensions=protected)
    assert (await sign_in(client, shown)).status_code == 200
