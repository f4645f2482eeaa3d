"""What providers do each in a way of their own, and may."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.federation.kit import Browser, exchange, query_of
from tests.federation.provider import MISSING, OpenIdProvider, SigningKey
from tests.federation.realm import Realm

KEYS: dict[str, Callable[[], SigningKey]] = {
    "RS256": lambda: SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=2048), alg="RS256"),
    "PS256": lambda: SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=2048), alg="PS256"),
    "ES384": lambda: SigningKey(ec.generate_private_key(ec.SECP384R1()), alg="ES384"),
    "ES512": lambda: SigningKey(ec.generate_private_key(ec.SECP521R1()), alg="ES512"),
    "EdDSA": lambda: SigningKey(Ed25519PrivateKey.generate(), alg="EdDSA"),
}


@pytest.mark.parametrize("algorithm", KEYS)
async def test_every_usual_signature_is_known(browser: Browser, op: OpenIdProvider, algorithm: str) -> None:
    op.keys = [KEYS[algorithm](), SigningKey(kid="another")]
    op.claims["at_hash"] = MISSING  # by another hash for each

    await browser.signed_in(op, op.register())


@pytest.mark.parametrize("methods", [("client_secret_basic",), ("client_secret_post",), ("none", "client_secret_post")])
async def test_the_secret_is_shown_in_the_way_that_the_provider_wants(
    browser: Browser, op: OpenIdProvider, methods: tuple[str, ...]
) -> None:
    op.auth_methods = methods

    await browser.signed_in(op, op.register())


async def test_a_public_client_shows_none(browser: Browser, realm: Realm) -> None:
    op = realm.take("public")

    await browser.signed_in(op, op.register())


async def test_basic_is_for_who_says_nothing_of_it(browser: Browser, op: OpenIdProvider) -> None:
    """OpenID Connect Discovery 1.0 §3."""
    op.metadata["token_endpoint_auth_methods_supported"] = MISSING
    op.auth_methods = ("client_secret_basic",)

    await browser.signed_in(op, op.register())


async def test_the_issuer_in_the_answer_is_taken_where_it_is_right(browser: Browser, op: OpenIdProvider) -> None:
    """RFC 9207, announced or not."""
    op.announces_iss = True
    await browser.signed_in(op, op.register())
    op.announces_iss, op.back = False, {"iss": op.issuer}

    await browser.signed_in(op, op.register())


@pytest.mark.parametrize(
    "said",
    [
        {"aud": ["gatehouse:at+this=provider"]},
        {"azp": "gatehouse:at+this=provider"},
        {"at_hash": MISSING},
        {"amr": ["pwd"], "acr": "1", "auth_time": 1700000000},
        {"auth_time": 1700000000.5},
        {"address": {"country": "UK"}, "groups": ["a"] * 500},
    ],
)
async def test_what_a_provider_may_say_or_leave_out_makes_no_difference(
    browser: Browser, op: OpenIdProvider, said: dict[str, Any]
) -> None:
    op.claims = said

    await browser.signed_in(op, op.register())


async def test_one_key_needs_no_name(browser: Browser, op: OpenIdProvider) -> None:
    op.header = {"kid": MISSING}

    await browser.signed_in(op, op.register())


@pytest.mark.parametrize("auth_time", [10**17, -(10**17), 10**400, -1, 0, True, 1e300])
async def test_a_time_that_is_none_breaks_nothing(browser: Browser, op: OpenIdProvider, auth_time: float) -> None:
    op.claims = {"auth_time": auth_time}
    flow = await browser.start(op)

    answer = await browser.back(flow, op.register())

    if answer.status_code == 302:
        code = query_of(answer.headers["location"])["code"]
        answer = await exchange(browser.app, code, flow.verifier)
    assert answer.status_code in (200, 401), answer.text
