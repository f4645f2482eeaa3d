"""Answers that belong to somebody else: another provider's, another sign-in's, another person's."""

from collections.abc import Callable

import pytest

from app.parts import Parts
from tests.federation.kit import Browser, query_of, traces
from tests.federation.provider import MISSING, OpenIdProvider, with_fields
from tests.federation.realm import Realm
from tests.federation.refusals import refused


@pytest.mark.parametrize("iss", ["https://op.example", "", "{issuer}/", "{another}"])
async def test_an_answer_that_names_another_issuer_is_refused_before_anybody_is_asked(
    browser: Browser, op: OpenIdProvider, realm: Realm, parts: Parts, iss: str
) -> None:
    """RFC 9207 §2.4; the code may be somebody else's, and the provider the attacker's."""
    before = await traces(parts)
    op.announces_iss = True
    op.back = {"iss": iss.format(issuer=op.issuer, another=realm.take().issuer)}

    await refused(browser, op, op.register(), 401, "identity_not_accepted")

    assert op.tokens == {}
    assert f"{op.prefix}/token" not in realm.server.counts
    assert await traces(parts) == before


async def test_an_answer_without_the_issuer_that_was_announced_is_refused(
    browser: Browser, op: OpenIdProvider, realm: Realm
) -> None:
    op.announces_iss = True
    op.back = {"iss": MISSING}

    await refused(browser, op, op.register(), 401, "identity_not_accepted")

    assert f"{op.prefix}/token" not in realm.server.counts


async def test_an_answer_that_names_another_issuer_unasked_is_refused_as_well(
    browser: Browser, op: OpenIdProvider, realm: Realm
) -> None:
    op.back = {"iss": realm.take().issuer}

    await refused(browser, op, op.register(), 401, "identity_not_accepted")


@pytest.mark.parametrize("iss", ["https://op.example", MISSING])
async def test_a_refusal_that_does_not_come_from_this_issuer_is_no_answer(
    browser: Browser, op: OpenIdProvider, iss: object
) -> None:
    """RFC 9207 §2.4 is about refusals as well; one that names its issuer rightly is heard."""
    op.announces_iss = True
    op.back = {"code": MISSING, "error": "access_denied", "iss": iss}

    await refused(browser, op, op.register(), 401, "identity_not_accepted")

    op.back = {"code": MISSING, "error": "access_denied"}
    answer = await browser.back(await browser.start(op), op.register())
    assert query_of(answer.headers["location"])["error"] == "access_denied"


async def test_somebody_elses_code_signs_nobody_in(
    new_browser: Callable[[], Browser], op: OpenIdProvider, parts: Parts
) -> None:
    """Whoever puts it into the way back: the verifier is of another browser (RFC 9700 §4.5.3)."""
    ada, bob = op.register(), op.register()
    hers, his = new_browser(), new_browser()
    stolen = query_of(await hers.at_provider(await hers.start(op), ada))["code"]
    before = await traces(parts)
    op.back = {"code": stolen}

    await refused(his, op, bob, 401, "identity_not_accepted")

    assert await traces(parts) == before


async def test_an_id_token_of_another_sign_in_signs_nobody_in(browser: Browser, op: OpenIdProvider) -> None:
    """A good one, by the same provider for us, but with its own nonce."""
    ada, bob = op.register(), op.register()
    await browser.signed_in(op, ada)
    (_, good) = op.issued[-2:]
    op.token_answer = {"id_token": good}

    await refused(browser, op, bob, 401, "identity_not_accepted")


async def test_what_userinfo_says_of_somebody_else_is_refused(
    browser: Browser, op: OpenIdProvider, parts: Parts
) -> None:
    """OpenID Connect Core 1.0 §5.3.2."""
    before = await traces(parts)
    for sub in ("somebody-else", MISSING, None, ["a"]):
        op.told["userinfo"] = with_fields(sub=sub, email="root@example.org", email_verified=True)
        await refused(browser, op, op.register(), 401, "identity_not_accepted")

    assert await traces(parts) == before
