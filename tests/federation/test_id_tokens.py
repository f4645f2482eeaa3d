"""A provider whose ID tokens or keys are wrong: nobody gets in, and nothing is kept."""

from typing import Any

import pytest
from jwt import get_algorithm_by_name

from app import base64url
from app.federation import id_tokens, openid, published
from app.parts import Parts
from tests.federation.forgeries import CLAIMS, SIGNATURES, Lie
from tests.federation.kit import Browser, traces
from tests.federation.provider import OpenIdProvider, SigningKey, instead
from tests.federation.realm import Realm
from tests.federation.refusals import refused
from tests.federation.server import json


@pytest.mark.parametrize("lie", [*SIGNATURES.values(), *CLAIMS.values()], ids=[*SIGNATURES, *CLAIMS])
async def test_an_id_token_that_is_wrong_in_one_thing_signs_nobody_in(
    browser: Browser, op: OpenIdProvider, parts: Parts, lie: Lie
) -> None:
    before = await traces(parts)
    ada = op.register(email="ada@example.org", email_verified=True)
    lie(op)

    await refused(browser, op, ada, 401, "identity_not_accepted")

    assert await traces(parts) == before


@pytest.mark.parametrize("typ", ["JWT", "jwt"])
async def test_the_type_of_a_token_may_be_said_in_any_case(browser: Browser, op: OpenIdProvider, typ: str) -> None:
    """RFC 7519 §5.1; whoever says none is the rule of the other tests."""
    op.header["typ"] = typ

    await browser.signed_in(op, op.register())


# ---- keys -----------------------------------------------------------------------------------------------------------


async def test_a_new_key_is_read_once_and_then_known(
    browser: Browser, op: OpenIdProvider, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.signed_in(op, op.register())
    op.keys.insert(0, SigningKey())
    monkeypatch.setattr(openid, "PAUSE_SECONDS", 0.0)

    for _ in range(3):
        await browser.signed_in(op, op.register())

    assert realm.server.counts[f"{op.prefix}/keys"] == 2
    assert realm.server.counts[f"{op.prefix}/.well-known/openid-configuration"] == 1


async def test_keys_that_are_not_there_are_not_looked_for_again_and_again(
    browser: Browser, op: OpenIdProvider, realm: Realm
) -> None:
    await browser.signed_in(op, op.register())
    op.header["kid"] = "unknown"

    for _ in range(5):
        await refused(browser, op, op.register(), 401, "identity_not_accepted")

    assert realm.server.counts[f"{op.prefix}/keys"] <= 2


async def test_a_key_that_was_taken_back_is_good_no_longer_than_what_was_read_is_kept(
    browser: Browser, op: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.signed_in(op, op.register())
    old, op.keys = op.keys, [SigningKey()]
    op.forge = lambda op, claims: op.signed(claims, old[0])
    monkeypatch.setattr(published, "KEEP_SECONDS", 0.0)

    await refused(browser, op, op.register(), 401, "identity_not_accepted")


NO_KEYS = {
    "none": {"keys": []},
    "no list": {"keys": {"a": 1}},
    "null": {"keys": None},
    "texts": {"keys": ["-----BEGIN PUBLIC KEY-----", "x"]},
    "lists": {"keys": [[], [1]]},
    "nothing at all": {},
    "curves that nobody knows": {"keys": [{"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"}]},
    "another curve that nobody knows": {"keys": [{"kty": "OKP", "crv": "X999", "x": "AA"}]},
    "a point that is not on the curve": {"keys": [{"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}]},
    "secrets": {"keys": [{"kty": "oct", "k": "c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLWFueWJvZHk"}]},
    "a kind that nobody knows": {"keys": [{"kty": "lattice"}]},
    "a modulus of zero": {"keys": [{"kty": "RSA", "n": "AA", "e": "AQAB"}]},
    "a modulus of 16384 bits": {"keys": [{"kty": "RSA", "n": base64url.encode(b"\xff" * 2048), "e": "AQAB"}]},
}


@pytest.mark.parametrize("said", NO_KEYS.values(), ids=NO_KEYS)
async def test_a_set_without_a_good_key_signs_nobody_in_and_breaks_nothing(
    browser: Browser, op: OpenIdProvider, said: dict[str, Any]
) -> None:
    op.told["keys"] = instead(json(said))

    await refused(browser, op, op.register(), 401, "identity_not_accepted")


@pytest.mark.parametrize("said", NO_KEYS.values(), ids=NO_KEYS)
async def test_a_good_key_beside_others_is_good(browser: Browser, op: OpenIdProvider, said: dict[str, Any]) -> None:
    others = said["keys"] if isinstance(said.get("keys"), list) else []
    op.told["keys"] = instead(json({"keys": [*others, op.keys[0].jwk, *others]}))

    await browser.signed_in(op, op.register())


@pytest.mark.parametrize("use", ["enc", "", None, 1])
async def test_a_key_for_something_else_is_not_used(browser: Browser, op: OpenIdProvider, use: object) -> None:
    op.told["keys"] = instead(json({"keys": [op.keys[0].jwk | {"use": use}]}))

    await refused(browser, op, op.register(), 401, "identity_not_accepted")


async def test_a_key_whose_private_half_was_published_is_nobodys(browser: Browser, op: OpenIdProvider) -> None:
    key = op.keys[0]
    private = get_algorithm_by_name(key.alg).to_jwk(key.private, as_dict=True)
    assert "d" in private
    op.told["keys"] = instead(json({"keys": [key.jwk | private]}))

    await refused(browser, op, op.register(), 401, "identity_not_accepted")


async def test_of_a_set_without_end_the_first_hundred_keys_are_read(browser: Browser, op: OpenIdProvider) -> None:
    others = [SigningKey().jwk for _ in range(id_tokens.MAX_KEYS)]
    op.told["keys"] = instead(json({"keys": [*others[1:], op.keys[0].jwk]}))
    await browser.signed_in(op, op.register())

    assert len(id_tokens.key_set({"keys": [*others, op.keys[0].jwk]})) == id_tokens.MAX_KEYS


def test_a_key_that_is_slow_to_look_at_is_left_out() -> None:
    """OpenSSL takes a tenth of a second for the modulus of this one."""
    huge = base64url.encode(b"\xff" * 180_000)

    assert id_tokens.key_set({"keys": [{"kty": "RSA", "n": huge, "e": "AQAB"}]}) == []
