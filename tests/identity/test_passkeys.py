"""A passkey is made, named and taken away, and others hear of it; whatever is not quite right is refused."""

import asyncio
from typing import Any

import cbor2
import pytest
from httpx import AsyncClient

from app import base64url
from app.errors import NotFound
from app.factors import relying_party
from app.identity import passkeys
from app.parts import Parts
from tests.identity.factorkit import long_ago
from tests.identity.mailkit import letters_expire, proved, token, use
from tests.identity.webauthnkit import (
    EXTENDED,
    WRONG,
    Key,
    added,
    laughs,
    login_options,
    registration_options,
    sign_in,
)
from tests.kit import Person, SignedIn, from_ip, log_in, new_password, problem, register
from tests.mail.kit import Postbox

# ---- made ---------------------------------------------------------------------------------------------------------


async def test_one_is_made_listed_named_and_taken_away(session: SignedIn, parts: Parts) -> None:
    await added(session)
    await added(session, name="Ada's telephone")

    first, second = (await session.ask("GET", "/me/passkeys")).json()["items"]
    assert (second["name"], second["transports"], second["last_used_at"]) == ("Ada's telephone", ["internal"], None)
    renamed = await session.ask("PATCH", f"/me/passkeys/{first['id']}", json={"name": " Ada's  key "})
    assert renamed.json() == first | {"name": "Ada's key"}
    for name in ("", " ", "\u3164"):
        refused = await session.ask("PATCH", f"/me/passkeys/{first['id']}", json={"name": name})
        assert [each["field"] for each in problem(refused, 422, "validation_failed")["errors"]] == ["name"]
    assert (await session.ask("DELETE", f"/me/passkeys/{second['id']}")).status_code == 204

    assert [each["name"] for each in (await session.ask("GET", "/me/passkeys")).json()["items"]] == ["Ada's key"]
    rows = await parts.db.fetch(
        "SELECT event FROM audit_events WHERE user_id = $1 AND event ~ '^passkey' ORDER BY id", session.user_id
    )
    assert [row["event"] for row in rows] == ["passkey.added", "passkey.added", "passkey.removed"]


async def test_the_options_ask_for_one_that_knows_its_user(session: SignedIn) -> None:
    key = await added(session)

    options = await registration_options(session)

    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert [each["id"] for each in options["excludeCredentials"]] == [base64url.encode(key.id)]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_what_is_not_quite_right_is_not_kept(session: SignedIn, wrong: dict[str, Any]) -> None:
    made = Key().made(await registration_options(session), **wrong)

    problem(await session.ask("POST", "/me/passkeys", json=made), 422, "validation_failed")

    assert (await session.ask("GET", "/me/passkeys")).json()["items"] == []


@pytest.mark.parametrize("field", ["clientDataJSON", "attestationObject"])
@pytest.mark.parametrize(
    "garbage", ["x", "AAAA", base64url.encode(b"\xff" * 300), base64url.encode(b'{"x":' + b"[" * 40_000)]
)
async def test_garbage_is_refused(session: SignedIn, field: str, garbage: str) -> None:
    made = Key().made(await registration_options(session))
    made["response"][field] = garbage

    problem(await session.ask("POST", "/me/passkeys", json=made), 422, "validation_failed")


@pytest.mark.parametrize(
    "wrong",
    [
        {"cose": laughs(64)},
        {"flags": EXTENDED, "extensions": laughs(64)},
        {"cose": cbor2.dumps({1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)})},
        {"cose": b"\x9f\xff"},
    ],
    ids=["key that explodes", "extension that explodes", "point off the curve", "length that comes later"],
)
async def test_what_no_key_is_made_of_is_refused_at_once(session: SignedIn, wrong: dict[str, Any]) -> None:
    made = Key().made(await registration_options(session), **wrong)

    problem(await session.ask("POST", "/me/passkeys", json=made), 422, "validation_failed")


async def test_a_credential_is_the_one_that_it_says_it_is(session: SignedIn) -> None:
    made = Key().made(await registration_options(session))
    other = base64url.encode(bytes(32))

    answer = await session.ask("POST", "/me/passkeys", json=made | {"id": other, "rawId": other})

    problem(answer, 422, "validation_failed")


async def test_of_the_ways_to_reach_it_those_are_kept_that_there_are(session: SignedIn) -> None:
    made = Key().made(await registration_options(session))
    made["response"]["transports"] = ["usb", "<script>", "", "internal"]

    answer = await session.ask("POST", "/me/passkeys", json=made)

    assert answer.json()["transports"] == ["usb", "internal"]


async def test_a_credential_id_has_its_bounds(session: SignedIn) -> None:
    key = Key()
    key.id = bytes(1024)

    made = key.made(await registration_options(session))

    problem(await session.ask("POST", "/me/passkeys", json=made), 422, "validation_failed")


async def test_a_challenge_is_for_one_user_once_and_for_five_minutes(
    client: AsyncClient, session: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = await registration_options(session)
    other = await log_in(client, await register(client))
    problem(await other.ask("POST", "/me/passkeys", json=Key().made(options)), 422, "validation_failed")

    assert (await session.ask("POST", "/me/passkeys", json=Key().made(options))).status_code == 201
    problem(await session.ask("POST", "/me/passkeys", json=Key().made(options)), 422, "validation_failed")
    late = await registration_options(session)
    monkeypatch.setattr(relying_party, "CHALLENGE_SECONDS", 0)
    problem(await session.ask("POST", "/me/passkeys", json=Key().made(late)), 422, "validation_failed")


async def test_a_challenge_of_a_login_makes_none(client: AsyncClient, session: SignedIn) -> None:
    options = await registration_options(session)
    options["challenge"] = (await login_options(client))["challenge"]

    problem(await session.ask("POST", "/me/passkeys", json=Key().made(options)), 422, "validation_failed")


async def test_somebody_elses_is_not_ones_own(client: AsyncClient, session: SignedIn) -> None:
    key = await added(session)
    other = await log_in(client, await register(client))

    again = await other.ask("POST", "/me/passkeys", json=key.made(await registration_options(other)))
    problem(again, 409, "conflict")
    theirs = (await session.ask("GET", "/me/passkeys")).json()["items"][0]["id"]

    problem(await other.ask("DELETE", f"/me/passkeys/{theirs}"), 404, "not_found")
    problem(await other.ask("PATCH", f"/me/passkeys/{theirs}", json={"name": "mine"}), 404, "not_found")


async def test_there_are_bounds(session: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "MOST", 1)
    await added(session)

    made = Key().made(await registration_options(session))

    problem(await session.ask("POST", "/me/passkeys", json=made), 409, "conflict")


async def test_who_is_gone_makes_none(client: AsyncClient, parts: Parts, admin: SignedIn, ada: Person) -> None:
    caller = await parts.authenticator.caller((await log_in(client, ada)).access)
    assert (await admin.ask("DELETE", f"/users/{ada.id}")).status_code == 204

    with pytest.raises(NotFound):
        await parts.passkeys.options(caller)


async def test_all_of_it_needs_a_present_login(session: SignedIn, parts: Parts) -> None:
    await added(session)
    options = await registration_options(session)
    own = (await session.ask("GET", "/me/passkeys")).json()["items"][0]["id"]
    await long_ago(parts, session)

    for answer in (
        await session.ask("POST", "/me/passkeys/options"),
        await session.ask("POST", "/me/passkeys", json=Key().made(options)),
        await session.ask("DELETE", f"/me/passkeys/{own}"),
    ):
        problem(answer, 403, "reauthentication_required")


# ---- what follows -------------------------------------------------------------------------------------------------


async def test_it_shows_once_more_who_one_is(client: AsyncClient, ada: Person, parts: Parts) -> None:
    session = await log_in(client, ada)
    key = await added(session)
    other = await log_in(client, await register(client))
    await long_ago(parts, session)
    theirs = key.shown(await login_options(client))
    refused = await other.ask("POST", "/me/reauthenticate", json=theirs, headers=from_ip())
    problem(refused, 401, "invalid_credentials")

    answer = await session.ask("POST", "/me/reauthenticate", json=key.shown(await login_options(client)))

    assert answer.status_code == 200, answer.text
    fresh = SignedIn(client, answer.json())
    assert fresh.claims["amr"] == ["pop", "user", "mfa"]
    assert (await fresh.ask("GET", "/me/export")).json()["passkeys"][0]["last_used_at"] is not None


async def test_the_last_way_in_stays(client: AsyncClient, ada: Person, parts: Parts) -> None:
    session = await log_in(client, ada)
    await added(session)
    await added(session)
    first, second = ((each["id"]) for each in (await session.ask("GET", "/me/passkeys")).json()["items"])
    await parts.db.execute("UPDATE users SET password_hash = NULL WHERE id = $1", ada.id)

    answers = await asyncio.gather(*(session.ask("DELETE", f"/me/passkeys/{each}") for each in (first, second)))

    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_who_was_not_it_loses_the_intruders_passkey_but_keeps_an_older_one(
    client: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    ada = await proved(client, postbox)
    own = await added(await log_in(client, ada))
    await letters_expire(parts, ada)
    intruder = await log_in(client, ada)
    his = await added(intruder)
    link = token(await postbox.to(ada.email or "", 3), "not-me")

    assert (await use(client, "/password/not-me", link)).status_code == 204

    problem(await sign_in(client, his.shown(await login_options(client))), 401, "invalid_credentials")
    assert (await sign_in(client, own.shown(await login_options(client)))).status_code == 200


async def test_who_was_not_it_loses_the_intruders_passkey_by_whichever_letter(
    client: AsyncClient, postbox: Postbox
) -> None:
    """The newest one is clicked, and an intruder can always cause a newer one."""
    ada = await proved(client, postbox)
    his = await added(await log_in(client, ada))
    change = {"current_password": ada.password, "new_password": new_password()}
    intruder = await log_in(client, ada)
    assert (await intruder.ask("POST", "/me/password", json=change)).status_code == 204
    link = token(await postbox.to(ada.email or "", 3), "not-me")

    assert (await use(client, "/password/not-me", link)).status_code == 204

    problem(await sign_in(client, his.shown(await login_options(client))), 401, "invalid_credentials")


async def test_every_change_is_told(client: AsyncClient, postbox: Postbox, admin: SignedIn) -> None:
    ada = await proved(client, postbox)
    session = await log_in(client, ada)
    await added(session, name="Ada's telephone")
    own = (await session.ask("GET", "/me/passkeys")).json()["items"][0]["id"]
    await session.ask("DELETE", f"/me/passkeys/{own}")
    await added(session)
    await admin.ask("DELETE", f"/users/{ada.id}/mfa")

    mails = [await postbox.to(ada.email or "", number) for number in (2, 3, 4, 5)]

    assert sorted(mail.message["Subject"] for mail in mails) == [
        "A passkey was added to your account",
        "A passkey was added to your account",
        "A passkey was removed from your account",
        "A passkey was removed from your account",
    ]
    assert sum("Ada's telephone" in mail.part("plain") for mail in mails) == 2
    assert sum("An administrator has removed" in mail.part("plain") for mail in mails) == 1
