"""A passkey in a browser: made with the options of the service, and signing in by them."""

from typing import Any

from tests.browser.conftest import Browser
from tests.kit import new_name, new_password

REGISTER = """
    await post("/register", {username: given.username, password: given.password});
    const session = (await post("/login", {username: given.username, password: given.password})).body;
    const options = (await post("/me/passkeys/options", {}, session.access_token)).body;
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    const made = await navigator.credentials.create({publicKey});
    return await post("/me/passkeys", {...made.toJSON(), name: "Chromium"}, session.access_token);
"""
SIGN_IN = """
    const options = (await post("/login/passkey/options", given.username ? {username: given.username} : {})).body;
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    const shown = await navigator.credentials.get({publicKey});
    return await post("/login/passkey", shown.toJSON());
"""


async def added(browser: Browser) -> str:
    """The name of a new user who has a passkey."""
    username = new_name()
    answer: dict[str, Any] = await browser.ask(REGISTER, username=username, password=new_password())
    assert answer["status"] == 201, answer
    assert answer["body"]["name"] == "Chromium"
    return username


async def test_it_is_made_and_signs_in_with_and_without_a_name(browser: Browser) -> None:
    username = await added(browser)

    for name in (None, username):
        answer = await browser.ask(SIGN_IN, username=name)
        assert answer["status"] == 200, answer
        assert answer["body"]["user"]["username"] == username


async def test_nobody_signs_in_whom_the_authenticator_does_not_know(browser: Browser) -> None:
    await added(browser)
    user = {"authenticatorId": browser.authenticator, "isUserVerified": False}
    await browser.devtools.send("WebAuthn.setUserVerified", user)

    failure = await browser.ask(f"try {{ {SIGN_IN} }} catch (error) {{ return error.name; }}", username=None)

    assert failure == "NotAllowedError"
