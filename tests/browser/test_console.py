"""The console in a browser with scripts: passkeys, and a policy that lets nothing else run."""

import pytest

from tests.browser.conftest import Browser
from tests.browser.test_passkeys import added
from tests.kit import BASE

ALONE = "delete PublicKeyCredential.isConditionalMediationAvailable;"  # the browser offers nothing by itself
OLD = "delete PublicKeyCredential.parseRequestOptionsFromJSON; delete PublicKeyCredential.prototype.toJSON;"


@pytest.mark.parametrize("script", ["", ALONE, ALONE + OLD], ids=["by itself", "by a button", "in an older browser"])
async def test_a_passkey_signs_in_on_the_page(browser: Browser, script: str) -> None:
    page, wrong = browser.page, []
    username = await added(browser)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.add_init_script(script)

    await page.goto(page.url.partition("/docs")[0] + "/console/sign-in?next=/console/account")
    if script:
        await page.get_by_role("button", name="Sign in with a passkey").click()
    await page.wait_for_url(lambda url: url.endswith("/console/account") and "?" not in url)

    assert username in await page.inner_text("main")
    kept = [each for each in await page.context.cookies() if "console" in each["name"]]
    assert len(kept) == 3
    assert all(each["httpOnly"] for each in kept)
    assert wrong == []


async def test_who_has_none_is_told_and_may_take_another_way(browser: Browser) -> None:
    await browser.page.goto(browser.page.url.partition("/docs")[0] + "/console/sign-in")
    user = {"authenticatorId": browser.authenticator, "isUserVerified": False}
    await browser.devtools.send("WebAuthn.setUserVerified", user)

    await browser.page.get_by_role("button", name="Sign in with a passkey").click()
    await browser.page.get_by_text("That did not work.").wait_for()

    assert await browser.page.locator("#password").is_visible()


async def test_without_scripts_no_passkey_is_offered(browser: Browser) -> None:
    chrome = browser.page.context.browser
    assert chrome is not None
    page = await (await chrome.new_context(java_script_enabled=False)).new_page()

    await page.goto(browser.page.url.partition("/docs")[0] + "/console/sign-in")

    assert await page.get_by_role("button", name="Sign in with a passkey").count() == 0
    assert await page.get_by_role("button", name="Sign in").is_visible()


async def test_the_token_of_a_link_leaves_the_address(browser: Browser) -> None:
    await browser.page.goto(browser.page.url.partition("/docs")[0] + "/console/verify-email?token=abc")

    await browser.page.wait_for_url("**/console/verify-email")
    await browser.page.get_by_role("button", name="This is my address").click()
    await browser.page.get_by_text("This link is not valid").wait_for()

    assert BASE not in browser.page.url
