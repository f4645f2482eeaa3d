"""How a user signs in, as whoever looks after accounts sees it: everything but the secrets."""

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.identity.factorkit import enrolled
from tests.identity.kit import change, events
from tests.identity.webauthnkit import added
from tests.kit import Person, SignedIn, log_in, problem


async def test_each_way_is_told_without_its_secret(admin: SignedIn, session: SignedIn) -> None:
    await added(session, name="Ada's telephone")
    authenticator = await enrolled(session)

    answer = await admin.ask("GET", f"/users/{session.user_id}/credentials")

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["has_password"], body["identities"]) == (True, [])
    assert body["second_factor"]["totp_since"] is not None
    assert body["second_factor"]["recovery_codes"] == len(authenticator.codes)
    assert body["passkeys"] == (await session.ask("GET", "/me/passkeys")).json()["items"]
    assert not any(secret in answer.text for secret in (authenticator.secret, *authenticator.codes))


async def test_who_is_not_there_has_none(admin: SignedIn) -> None:
    problem(await admin.ask("GET", "/users/4611686018427387904/credentials"), 404, "not_found")


# ---- why he is changed ----------------------------------------------------------------------------------------------


async def test_the_reason_is_in_the_trail_where_the_user_finds_it_as_well(
    client: AsyncClient, admin: SignedIn, ada: Person, parts: Parts
) -> None:
    answer = await change(admin, ada.id, is_active=False, roles=["admin"], reason="  Has left   the house. ")

    assert answer.status_code == 200
    assert "house" not in answer.text
    said = [details for event, details in await events(parts, ada.id) if event in ("user.updated", "role.changed")]
    assert [each["reason"] for each in said] == ["Has left the house."] * 2
    await change(admin, ada.id, is_active=True, reason="Is back.")
    own = (await (await log_in(client, ada)).ask("GET", "/me/activity")).json()["items"]
    assert {each["details"].get("reason") for each in own} >= {"Has left the house.", "Is back."}


@pytest.mark.parametrize("reason", ["", "x" * 201, "a\x07", 1])
async def test_a_reason_is_a_short_text(admin: SignedIn, ada: Person, reason: object) -> None:
    answer = await change(admin, ada.id, is_active=False, reason=reason)

    assert problem(answer, 422, "validation_failed")["errors"][0]["field"] == "reason"
    assert (await admin.ask("GET", f"/users/{ada.id}")).json()["is_active"] is True
