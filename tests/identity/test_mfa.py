"""An authenticator is set up and taken away, and so are its codes on paper; everybody concerned is told."""

import asyncio
import base64
import re
import xml.etree.ElementTree as ET
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from httpx import AsyncClient

from app.factors import recovery_codes
from app.factors.totp import Totp
from app.parts import Parts
from tests.identity.factorkit import Authenticator, enrolled, first_step, long_ago, second_step, with_factor
from tests.identity.mailkit import letters_expire, proved, token, use
from tests.kit import Person, SignedIn, from_ip, log_in, new_password, problem
from tests.mail.kit import Postbox


async def test_a_secret_can_be_scanned_and_typed(session: SignedIn, ada: Person) -> None:
    made = (await session.ask("POST", "/me/mfa/totp")).json()

    uri = urlsplit(made["otpauth_uri"])
    said = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", f"/auth.example.test:{ada.username}")
    assert (said["secret"], said["issuer"]) == ([made["secret"]], ["auth.example.test"])
    assert ET.fromstring(made["qr_svg"]).tag == "{http://www.w3.org/2000/svg}svg"


async def test_each_secret_and_each_code_on_paper_is_new_and_long_enough(ada: Person, parts: Parts) -> None:
    """160 bits as RFC 4226 §4 asks, and 80: four groups of four of Crockford's base32."""
    secrets = {Totp(parts.settings).enrol(ada.id, ada.username).secret for _ in range(20)}
    codes = [code for _ in range(20) for code in recovery_codes.make()]

    assert {len(base64.b32decode(secret)) for secret in secrets} == {20}
    assert len(secrets) == 20
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){6}", code) for code in codes)
    assert len(set(codes)) == 200


async def test_it_is_asked_for_once_its_first_code_has_come(
    client: AsyncClient, session: SignedIn, ada: Person
) -> None:
    secret = (await session.ask("POST", "/me/mfa/totp")).json()["secret"]
    await log_in(client, ada)  # a password is enough
    wrong = await session.ask("POST", "/me/mfa/totp/confirm", json={"code": "000000"})
    problem(wrong, 401, "invalid_mfa")
    await log_in(client, ada)

    confirmed = await session.ask("POST", "/me/mfa/totp/confirm", json={"code": Authenticator(secret).code()})

    assert len(set(confirmed.json()["recovery_codes"])) == 10
    assert (await session.ask("GET", "/me")).json()["mfa_enabled"] is True
    await first_step(client, ada)


async def test_one_that_is_in_use_cannot_be_replaced(session: SignedIn, ada: Person, client: AsyncClient) -> None:
    authenticator = await enrolled(session)

    problem(await session.ask("POST", "/me/mfa/totp"), 409, "conflict")
    again = await session.ask("POST", "/me/mfa/totp/confirm", json={"code": authenticator.code(1)})

    problem(again, 409, "conflict")
    answer = await second_step(client, await first_step(client, ada), code=authenticator.code())
    assert answer.status_code == 200


async def test_of_fifty_who_confirm_one_gets_the_codes(session: SignedIn, replicas: list[AsyncClient]) -> None:
    authenticator = Authenticator((await session.ask("POST", "/me/mfa/totp")).json()["secret"])

    answers = await asyncio.gather(
        *(
            session.ask("POST", "/me/mfa/totp/confirm", json={"code": authenticator.code()}, at=replicas[n % 2])
            for n in range(50)
        )
    )

    assert sorted({answer.status_code for answer in answers}) == [200, 409]
    assert [answer.status_code for answer in answers].count(200) == 1


async def test_of_two_who_confirm_at_once_one_gets_the_codes(session: SignedIn) -> None:
    authenticator = Authenticator((await session.ask("POST", "/me/mfa/totp")).json()["secret"])
    confirmation = {"code": authenticator.code()}

    answers = await asyncio.gather(*(session.ask("POST", "/me/mfa/totp/confirm", json=confirmation) for _ in range(2)))

    assert sorted(answer.status_code for answer in answers) == [200, 409]


@pytest.mark.parametrize("path", ["/totp", "/totp/confirm"])
async def test_it_needs_a_present_login(session: SignedIn, parts: Parts, path: str) -> None:
    await long_ago(parts, session)

    answer = await session.ask("POST", f"/me/mfa{path}", json={"code": "123456"} if "confirm" in path else None)

    problem(answer, 403, "reauthentication_required")


async def test_a_secret_that_waited_too_long_is_none(session: SignedIn, parts: Parts, admin: SignedIn) -> None:
    authenticator = Authenticator((await session.ask("POST", "/me/mfa/totp")).json()["secret"])
    await parts.db.execute(
        "UPDATE totp_secrets SET created_at = now() - interval '11 minutes' WHERE user_id = $1", session.user_id
    )

    late = await session.ask("POST", "/me/mfa/totp/confirm", json={"code": authenticator.code()})

    problem(late, 409, "conflict")
    assert (await admin.ask("POST", "/cleanup")).json()["deleted"]["factors"] >= 1
    assert not await parts.db.fetch("SELECT FROM totp_secrets WHERE user_id = $1", session.user_id)


@pytest.mark.parametrize("by", ["code", "recovery_code"])
async def test_it_goes_with_password_and_code(client: AsyncClient, ada: Person, parts: Parts, by: str) -> None:
    session, authenticator = await with_factor(client, ada)
    code = authenticator.code() if by == "code" else authenticator.codes[3]

    for body, status, error in (
        ({"password": new_password(), by: code}, 401, "invalid_credentials"),
        ({"password": ada.password, "code": "000000"}, 401, "invalid_mfa"),
        ({"password": ada.password}, 422, "validation_failed"),
        ({"password": ada.password, "code": "000000", "recovery_code": "x"}, 422, "validation_failed"),
    ):
        refused = await session.ask("DELETE", "/me/mfa/totp", json=body, headers=from_ip())
        problem(refused, status, error)
    gone = await session.ask("DELETE", "/me/mfa/totp", json={"password": ada.password, by: code})

    assert gone.status_code == 204
    assert (await session.ask("GET", "/me")).json()["mfa_enabled"] is False
    await log_in(client, ada)
    assert not await parts.db.fetch("SELECT FROM recovery_codes WHERE user_id = $1", ada.id)
    problem(
        await session.ask("DELETE", "/me/mfa/totp", json={"password": ada.password, "code": "123456"}), 409, "conflict"
    )


async def test_new_codes_on_paper_make_the_old_ones_void(client: AsyncClient, ada: Person) -> None:
    session, authenticator = await with_factor(client, ada)
    problem(
        await session.ask("POST", "/me/mfa/recovery-codes", json={"password": new_password()}, headers=from_ip()),
        401,
        "invalid_credentials",
    )

    new = (await session.ask("POST", "/me/mfa/recovery-codes", json={"password": ada.password})).json()

    assert len(set(new["recovery_codes"]) - set(authenticator.codes)) == 10
    mfa_token = await first_step(client, ada)
    problem(await second_step(client, mfa_token, recovery_code=authenticator.codes[0]), 401, "invalid_mfa")
    assert (await second_step(client, mfa_token, recovery_code=new["recovery_codes"][0])).status_code == 200


async def test_without_a_factor_there_are_no_codes(session: SignedIn, ada: Person) -> None:
    problem(await session.ask("POST", "/me/mfa/recovery-codes", json={"password": ada.password}), 409, "conflict")


async def test_an_administrator_takes_them_away_and_it_is_told(
    client: AsyncClient, admin: SignedIn, deputy: SignedIn, postbox: Postbox, parts: Parts
) -> None:
    ada = await proved(client, postbox)
    session, _ = await with_factor(client, ada)

    problem(await session.ask("DELETE", f"/users/{ada.id}/mfa"), 403, "forbidden")
    problem(await deputy.ask("DELETE", f"/users/{admin.user_id}/mfa"), 403, "forbidden")
    problem(await admin.ask("DELETE", f"/users/{admin.user_id}/mfa"), 403, "forbidden")
    assert (await deputy.ask("DELETE", f"/users/{ada.id}/mfa")).status_code == 204

    await log_in(client, ada)
    told = await postbox.to(ada.email or "", 3)
    assert told.message["Subject"] == "Your sign-in asks for no second factor any more"
    assert "administrator" in told.part("plain")
    rows = await parts.db.fetch(
        "SELECT actor_id FROM audit_events WHERE user_id = $1 AND event = 'mfa.disabled'", ada.id
    )
    assert [row["actor_id"] for row in rows] == [deputy.user_id]


async def test_every_change_is_told_and_recorded(client: AsyncClient, postbox: Postbox, parts: Parts) -> None:
    ada = await proved(client, postbox)
    session, authenticator = await with_factor(client, ada)
    await session.ask("POST", "/me/mfa/recovery-codes", json={"password": ada.password})
    await session.ask("DELETE", "/me/mfa/totp", json={"password": ada.password, "code": authenticator.code()})

    mails = [await postbox.to(ada.email or "", number) for number in (2, 3, 4)]

    assert sorted(mail.message["Subject"] for mail in mails) == [
        "Your recovery codes were replaced",
        "Your sign-in asks for a second factor now",
        "Your sign-in asks for no second factor any more",
    ]
    assert all(token(mail, "not-me") for mail in mails)
    rows = await parts.db.fetch(
        "SELECT event FROM audit_events WHERE user_id = $1 AND event ~ '^mfa' ORDER BY id", ada.id
    )
    assert [row["event"] for row in rows] == ["mfa.enabled", "mfa.enabled", "mfa.disabled"]


async def test_who_was_not_it_loses_the_intruders_factor_but_keeps_an_older_one(
    client: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    ada = await proved(client, postbox)
    await with_factor(client, ada)  # the intruder, who knows the password
    link = token(await postbox.to(ada.email or "", 2), "not-me")

    assert (await use(client, "/password/not-me", link)).status_code == 204

    new = new_password()
    way_back = token(await postbox.to(ada.email or "", 3), "reset-password")
    assert (await use(client, "/password/reset", way_back, new_password=new)).status_code == 204
    ada = Person(ada.id, ada.username, new, ada.email)
    session, authenticator = await with_factor(client, ada)  # her own
    await letters_expire(parts, ada)
    change = {"current_password": new, "new_password": new_password()}
    assert (await session.ask("POST", "/me/password", json=change)).status_code == 204
    link = token(await postbox.to(ada.email or "", 5), "not-me")
    assert (await use(client, "/password/not-me", link)).status_code == 204
    way_back = token(await postbox.to(ada.email or "", 6), "reset-password")
    assert (await use(client, "/password/reset", way_back, new_password=new)).status_code == 204
    assert (await second_step(client, await first_step(client, ada), code=authenticator.code())).status_code == 200


async def test_who_was_not_it_loses_the_intruders_codes_on_paper(
    client: AsyncClient, postbox: Postbox, parts: Parts
) -> None:
    ada = await proved(client, postbox)
    session, authenticator = await with_factor(client, ada)
    await letters_expire(parts, ada)
    his = (await session.ask("POST", "/me/mfa/recovery-codes", json={"password": ada.password})).json()
    link = token(await postbox.to(ada.email or "", 3), "not-me")

    assert (await use(client, "/password/not-me", link)).status_code == 204

    new = new_password()
    way_back = token(await postbox.to(ada.email or "", 4), "reset-password")
    assert (await use(client, "/password/reset", way_back, new_password=new)).status_code == 204
    mfa_token = await first_step(client, Person(ada.id, ada.username, new))
    refused = await second_step(client, mfa_token, recovery_code=his["recovery_codes"][0])
    problem(refused, 401, "invalid_mfa")
    assert (await second_step(client, mfa_token, code=authenticator.code())).status_code == 200


async def test_too_many_wrong_passwords_are_said_to_be_that(client: AsyncClient, ada: Person) -> None:
    session, authenticator = await with_factor(client, ada)
    for _ in range(11):
        await client.post("/login", json={"username": ada.username, "password": new_password()}, headers=from_ip())

    body = {"password": ada.password, "code": authenticator.code()}

    problem(await session.ask("DELETE", "/me/mfa/totp", json=body), 429, "rate_limited")


async def test_an_export_tells_of_it_without_its_secret(client: AsyncClient, ada: Person) -> None:
    session, authenticator = await with_factor(client, ada)

    export = (await session.ask("GET", "/me/export")).text

    assert '"recovery_codes":10' in export
    assert '"totp_since":"20' in export
    assert authenticator.secret not in export
