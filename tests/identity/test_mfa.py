"""An authenticator is set up, asked for, and taken away; its codes and those on paper work once."""

import asyncio
import xml.etree.ElementTree as ET
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from httpx import AsyncClient

from app.client import Client as CallersClient
from app.errors import SessionRevoked
from app.identity import confirmation
from app.identity.login import CODES_A_LOGIN
from app.identity.structs import PasswordChange, ProfileChange
from app.main import Parts
from app.maintenance.service import clean_up
from tests.identity.factorkit import Authenticator, claims, enrolled, first_step, second_step, with_factor
from tests.identity.mailkit import proved, token, use
from tests.kit import Person, SignedIn, from_ip, log_in, new_password, problem, register
from tests.mail.kit import Postbox
from tests.replica import Start

OLD_KEY, NEW_KEY = (f"{name}-key-of-the-tests-{32 * name[0]}" for name in ("old", "new"))


async def long_ago(parts: Parts, session: SignedIn) -> None:
    """The login was eleven minutes ago, by the session's row and its entry."""
    async with parts.db.transaction() as tx:
        await tx.execute("UPDATE sessions SET auth_time = now() - interval '11 minutes' WHERE id = $1", session.id)
        change = await parts.entries.outbox.announce(tx, [f"s:{session.id}"])
    await parts.entries.outbox.settle(change)


# ---- setting up ---------------------------------------------------------------------------------------------------


async def test_a_secret_can_be_scanned_and_typed(session: SignedIn, ada: Person) -> None:
    made = (await session.ask("POST", "/me/mfa/totp")).json()

    uri = urlsplit(made["otpauth_uri"])
    said = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", f"/auth.example.test:{ada.username}")
    assert (said["secret"], said["issuer"]) == ([made["secret"]], ["auth.example.test"])
    assert ET.fromstring(made["qr_svg"]).tag == "{http://www.w3.org/2000/svg}svg"


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


# ---- signing in ---------------------------------------------------------------------------------------------------


async def test_a_login_takes_two_steps_and_says_so(client: AsyncClient, ada: Person) -> None:
    _, authenticator = await with_factor(client, ada)

    body = {"username": ada.username, "password": ada.password, "device_name": "Ada's laptop"}
    due = problem(await client.post("/login", json=body, headers=from_ip()), 401, "mfa_required")
    answer = await second_step(client, due["mfa_token"], code=authenticator.code())

    assert due["methods"] == ["totp", "recovery_code"]
    session = SignedIn(client, answer.json())
    assert claims(session)["amr"] == ["pwd", "otp", "mfa"]
    current = next(s for s in (await session.ask("GET", "/me/sessions")).json()["items"] if s["current"])
    assert (current["amr"], current["device_name"]) == (["pwd", "otp", "mfa"], "Ada's laptop")


async def test_the_form_says_it_as_well(client: AsyncClient, ada: Person) -> None:
    await with_factor(client, ada)
    form = {"grant_type": "password", "username": ada.username, "password": ada.password}

    problem(await client.post("/login", data=form, headers=from_ip()), 401, "mfa_required")


async def test_a_wrong_password_says_nothing_of_a_second_factor(client: AsyncClient, ada: Person) -> None:
    await with_factor(client, ada)

    wrong = {"username": ada.username, "password": new_password()}

    problem(await client.post("/login", json=wrong, headers=from_ip()), 401, "invalid_credentials")


@pytest.mark.parametrize("ahead", [-1, 0, 1])
async def test_a_clock_may_be_off_by_a_step(client: AsyncClient, ada: Person, parts: Parts, ahead: int) -> None:
    _, authenticator = await with_factor(client, ada)
    await parts.db.execute("UPDATE totp_secrets SET last_step = 0 WHERE user_id = $1", ada.id)

    answer = await second_step(client, await first_step(client, ada), code=authenticator.code(ahead))

    assert answer.status_code == 200


@pytest.mark.parametrize("ahead", [-3, 3])
async def test_but_not_by_more(client: AsyncClient, ada: Person, parts: Parts, ahead: int) -> None:
    _, authenticator = await with_factor(client, ada)
    await parts.db.execute("UPDATE totp_secrets SET last_step = 0 WHERE user_id = $1", ada.id)

    problem(
        await second_step(client, await first_step(client, ada), code=authenticator.code(ahead)), 401, "invalid_mfa"
    )


async def test_of_fifty_logins_with_one_code_one_gets_in(
    client: AsyncClient, replicas: list[AsyncClient], ada: Person, parts: Parts
) -> None:
    first, authenticator = await with_factor(client, ada)
    pending = [await first_step(client, ada) for _ in range(10)]
    code = authenticator.code()

    answers = await asyncio.gather(*(second_step(replicas[n % 2], pending[n % 10], code=code) for n in range(50)))

    assert [answer.status_code for answer in answers].count(200) == 1
    assert {answer.status_code for answer in answers} <= {200, 401, 429}
    live = await parts.db.fetch("SELECT FROM sessions WHERE user_id = $1 AND id <> $2", ada.id, first.id)
    assert len(live) == 1


async def test_a_code_on_paper_works_once_however_it_is_written(
    client: AsyncClient, replicas: list[AsyncClient], ada: Person
) -> None:
    _, authenticator = await with_factor(client, ada)
    written = authenticator.codes[0].upper().replace("-", " ").replace("0", "O").replace("1", "l")
    pending = [await first_step(client, ada) for _ in range(10)]

    answers = await asyncio.gather(
        *(second_step(replicas[n % 2], pending[n % 10], recovery_code=written) for n in range(50))
    )

    assert [answer.status_code for answer in answers].count(200) == 1
    again = await second_step(client, await first_step(client, ada), recovery_code=authenticator.codes[0])
    assert again.status_code in (401, 429)


async def test_a_login_has_five_tries(client: AsyncClient, replicas: list[AsyncClient], ada: Person) -> None:
    _, authenticator = await with_factor(client, ada)
    mfa_token = await first_step(client, ada)

    answers = await asyncio.gather(*(second_step(replicas[n % 2], mfa_token, code="000000") for n in range(5)))

    assert CODES_A_LOGIN == 5
    assert {answer.status_code for answer in answers} == {401}
    problem(await second_step(client, mfa_token, code=authenticator.code()), 401, "invalid_mfa")
    assert (await second_step(client, await first_step(client, ada), code=authenticator.code())).status_code == 200


async def test_an_account_has_ten_wrong_codes_over_all_logins(
    client: AsyncClient, replicas: list[AsyncClient], ada: Person
) -> None:
    _, authenticator = await with_factor(client, ada)
    pending = [await first_step(client, ada) for _ in range(20)]

    answers = await asyncio.gather(*(second_step(replicas[n % 2], pending[n // 5], code="000000") for n in range(100)))

    assert [answer.status_code for answer in answers].count(401) == 10
    assert [answer.status_code for answer in answers].count(429) == 90
    last = await second_step(client, await first_step(client, ada), code=authenticator.code())
    problem(last, 429, "rate_limited")
    assert int(last.headers["retry-after"]) > 800


async def test_another_persons_code_is_none(client: AsyncClient, ada: Person) -> None:
    grace = await register(client)
    _, hers = await with_factor(client, ada)
    await with_factor(client, grace)

    mfa_token = await first_step(client, grace)

    problem(await second_step(client, mfa_token, code=hers.code()), 401, "invalid_mfa")
    problem(await second_step(client, mfa_token, recovery_code=hers.codes[0]), 401, "invalid_mfa")


@pytest.mark.parametrize("mfa_token", ["", "x", "gh1_AAAA", "ghm1_" + 86 * "A"], ids=["", "x", "refresh", "forged"])
async def test_a_token_that_is_none_of_ours(client: AsyncClient, mfa_token: str) -> None:
    answer = await second_step(client, mfa_token, code="123456")

    assert answer.status_code in (401, 422)
    assert answer.json()["code"] in ("invalid_mfa", "validation_failed")


@pytest.mark.parametrize("fields", [{}, {"code": "123456", "recovery_code": "x"}])
async def test_exactly_one_code_is_sent(client: AsyncClient, fields: dict[str, str]) -> None:
    problem(await second_step(client, "ghm1_x", **fields), 422, "validation_failed")


async def test_five_minutes_are_enough(client: AsyncClient, ada: Person, parts: Parts) -> None:
    _, authenticator = await with_factor(client, ada)
    mfa_token = await first_step(client, ada)
    await parts.db.execute("UPDATE pending_logins SET expires_at = now() WHERE user_id = $1", ada.id)

    problem(await second_step(client, mfa_token, code=authenticator.code()), 401, "invalid_mfa")


@pytest.mark.parametrize("change", ["password", "deactivated", "deleted", "reset"])
async def test_what_changes_between_the_steps_counts(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, ada: Person, change: str
) -> None:
    session, authenticator = await with_factor(client, ada)
    mfa_token = await first_step(client, ada)
    path = f"/users/{ada.id}"
    done = {
        "password": lambda: session.ask(
            "POST", "/me/password", json={"current_password": ada.password, "new_password": new_password()}
        ),
        "deactivated": lambda: admin.ask("PATCH", path, json={"is_active": False}),
        "deleted": lambda: admin.ask("DELETE", path),
        "reset": lambda: admin.ask("DELETE", f"{path}/mfa"),
    }
    assert (await done[change]()).status_code in (200, 204)

    problem(await second_step(replicas[1], mfa_token, code=authenticator.code()), 401, "invalid_mfa")


async def test_a_factor_that_comes_while_a_password_is_verified_is_asked_for(
    client: AsyncClient, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await log_in(client, ada)
    verify = parts.passwords.verify

    async def late(hashed: str | None, password: str) -> bool:
        monkeypatch.undo()
        await enrolled(session)
        return await verify(hashed, password)

    monkeypatch.setattr(parts.passwords, "verify", late)

    await first_step(client, ada)


async def test_a_password_that_changes_while_it_is_verified_leads_to_no_second_step(
    client: AsyncClient, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_factor(client, ada)
    verify = parts.passwords.verify

    async def late(hashed: str | None, password: str) -> bool:
        verified = await verify(hashed, password)
        await parts.db.execute("UPDATE users SET password_hash = 'another' WHERE id = $1", ada.id)
        return verified

    monkeypatch.setattr(parts.passwords, "verify", late)

    body = {"username": ada.username, "password": ada.password}
    problem(await client.post("/login", json=body, headers=from_ip()), 401, "invalid_credentials")


async def test_a_session_that_ends_while_its_user_shows_who_he_is_stays_ended(
    client: AsyncClient, ada: Person, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await log_in(client, ada)
    verify = parts.passwords.verify

    async def late(hashed: str | None, password: str) -> bool:
        await session.ask("POST", "/logout")
        return await verify(hashed, password)

    monkeypatch.setattr(parts.passwords, "verify", late)

    problem(await session.ask("POST", "/me/reauthenticate", json={"password": ada.password}), 401, "session_revoked")


async def test_a_session_that_ends_after_the_last_look_stays_ended(
    client: AsyncClient, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await log_in(client, ada)

    async def late(*_: object) -> None:
        await session.ask("POST", "/logout")

    monkeypatch.setattr(confirmation, "require_live", late)

    problem(await session.ask("POST", "/me/reauthenticate", json={"password": ada.password}), 401, "session_revoked")


async def test_a_new_password_by_a_link_does_not_skip_it(client: AsyncClient, postbox: Postbox) -> None:
    ada = await proved(client, postbox)
    await with_factor(client, ada)
    await client.post("/password/forgot", json={"email": ada.email}, headers=from_ip())
    new = new_password()
    link = token(await postbox.to(ada.email or "", 3), "reset-password")

    assert (await use(client, "/password/reset", link, new_password=new)).status_code == 204

    await first_step(client, Person(ada.id, ada.username, new))


# ---- taking away --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["code", "recovery_code"])
async def test_it_goes_with_password_and_code(client: AsyncClient, ada: Person, parts: Parts, by: str) -> None:
    session, authenticator = await with_factor(client, ada)
    code = authenticator.code() if by == "code" else authenticator.codes[3]

    for body, status, error in (
        ({"password": new_password(), by: code}, 401, "invalid_credentials"),
        ({"password": ada.password, "code": "000000"}, 401, "invalid_mfa"),
        ({"password": ada.password}, 401, "invalid_mfa"),
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


# ---- what follows -------------------------------------------------------------------------------------------------


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
    client: AsyncClient, postbox: Postbox
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
    change = {"current_password": new, "new_password": new_password()}
    assert (await session.ask("POST", "/me/password", json=change)).status_code == 204
    link = token(await postbox.to(ada.email or "", 5), "not-me")
    assert (await use(client, "/password/not-me", link)).status_code == 204
    way_back = token(await postbox.to(ada.email or "", 6), "reset-password")
    assert (await use(client, "/password/reset", way_back, new_password=new)).status_code == 204
    assert (await second_step(client, await first_step(client, ada), code=authenticator.code())).status_code == 200


async def test_who_was_not_it_loses_the_intruders_codes_on_paper(client: AsyncClient, postbox: Postbox) -> None:
    ada = await proved(client, postbox)
    session, authenticator = await with_factor(client, ada)
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


async def test_a_login_that_waits_does_not_outlast_a_deactivation(
    client: AsyncClient, admin: SignedIn, ada: Person
) -> None:
    _, authenticator = await with_factor(client, ada)
    mfa_token = await first_step(client, ada)
    for active in (False, True):
        await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": active})

    problem(await second_step(client, mfa_token, code=authenticator.code()), 401, "invalid_mfa")


async def test_too_many_wrong_passwords_are_said_to_be_that(client: AsyncClient, ada: Person) -> None:
    session, authenticator = await with_factor(client, ada)
    for _ in range(11):
        await client.post("/login", json={"username": ada.username, "password": new_password()}, headers=from_ip())

    body = {"password": ada.password, "code": authenticator.code()}

    problem(await session.ask("DELETE", "/me/mfa/totp", json=body), 429, "rate_limited")


async def test_who_was_signed_out_while_his_request_came_changes_nothing(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    """A body may take two minutes to come, and its session may have ended meanwhile."""
    session = await log_in(client, ada)
    authenticator = Authenticator((await session.ask("POST", "/me/mfa/totp")).json()["secret"])
    caller = await parts.authenticator.caller(session.access)
    assert (await session.ask("POST", "/logout")).status_code == 204
    here = CallersClient(ip="192.0.2.1", user_agent="", request_id="x")

    for late in (
        parts.second_factors.enrol(caller),
        parts.second_factors.confirm(caller, authenticator.code(), here),
        parts.second_factors.new_codes(caller, ada.password, here),
        parts.emails.change(caller, "intruder@example.org", here),
        parts.emails.change(caller, None, here),
        parts.emails.resend(caller, here) if ada.email else parts.accounts.delete(caller, ada.password, here),
        parts.accounts.change(caller, ProfileChange(full_name="Nobody"), here),
        parts.accounts.change_password(
            caller, PasswordChange(current_password=ada.password, new_password=new_password()), here
        ),
    ):
        with pytest.raises(SessionRevoked):
            await late
    await log_in(client, ada)


async def test_an_export_tells_of_it_without_its_secret(client: AsyncClient, ada: Person) -> None:
    session, authenticator = await with_factor(client, ada)

    export = (await session.ask("GET", "/me/export")).text

    assert '"recovery_codes":10' in export
    assert '"totp_since":"20' in export
    assert authenticator.secret not in export


# ---- showing once more who one is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["password", "code"])
async def test_a_session_shows_once_more_who_it_is(
    client: AsyncClient, replicas: list[AsyncClient], ada: Person, parts: Parts, way: str
) -> None:
    session, authenticator = await with_factor(client, ada)
    await long_ago(parts, session)
    problem(await session.ask("GET", "/me/export", at=replicas[1]), 403, "reauthentication_required")
    shown = {"password": ada.password} if way == "password" else {"code": authenticator.code()}

    answer = await session.ask("POST", "/me/reauthenticate", json=shown)

    assert answer.status_code == 200, answer.text
    fresh = SignedIn(client, answer.json())
    assert fresh.id == session.id
    assert claims(fresh)["amr"] == ["pwd", "otp", "mfa"]
    assert (await fresh.ask("GET", "/me/export", at=replicas[1])).status_code == 200
    assert (await (await fresh.refreshed()).ask("GET", "/me/export")).status_code == 200


async def test_a_session_from_before_the_factor_shows_it_before_it_touches_it(client: AsyncClient, ada: Person) -> None:
    """Whoever knows the password alone does not get round it by a session that he has had before."""
    old = await log_in(client, ada)
    _, authenticator = await with_factor(client, ada)
    again = await old.ask("POST", "/me/reauthenticate", json={"password": ada.password})
    old = SignedIn(client, again.json())
    for method, path, body in (
        ("POST", "/me/mfa/recovery-codes", {"password": ada.password}),
        ("POST", "/me/passkeys/options", None),
        ("PATCH", "/me", {"email": "intruder@example.org"}),
        ("GET", "/me/export", None),
        ("DELETE", "/me/mfa/totp", {"password": ada.password, "recovery_code": authenticator.codes[0]}),
    ):
        problem(await old.ask(method, path, json=body), 403, "reauthentication_required")

    shown = await old.ask("POST", "/me/reauthenticate", json={"code": authenticator.code()})

    assert (await SignedIn(client, shown.json()).ask("POST", "/me/passkeys/options")).status_code == 200


async def test_an_older_token_of_the_session_stays_as_old_as_it_is(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    """It may be a thief's."""
    session = await log_in(client, ada)
    await long_ago(parts, session)
    old = await session.refreshed()

    assert (await old.ask("POST", "/me/reauthenticate", json={"password": ada.password})).status_code == 200

    problem(await old.ask("GET", "/me/export"), 403, "reauthentication_required")


@pytest.mark.parametrize(
    ("shown", "status", "code"),
    [
        ({"password": "not-the-Password-9"}, 401, "invalid_credentials"),
        ({"code": "000000"}, 401, "invalid_mfa"),
        ({}, 422, "validation_failed"),
        ({"password": "x", "code": "000000"}, 422, "validation_failed"),
    ],
)
async def test_who_cannot_show_it_stays_where_he_is(
    session: SignedIn, parts: Parts, shown: dict[str, str], status: int, code: str
) -> None:
    await long_ago(parts, session)

    problem(await session.ask("POST", "/me/reauthenticate", json=shown, headers=from_ip()), status, code)

    problem(await session.ask("GET", "/me/export"), 403, "reauthentication_required")


async def test_of_fifty_who_show_one_code_one_is_believed(
    client: AsyncClient, replicas: list[AsyncClient], ada: Person
) -> None:
    session, authenticator = await with_factor(client, ada)
    code = authenticator.code()

    answers = await asyncio.gather(
        *(session.ask("POST", "/me/reauthenticate", json={"code": code}, at=replicas[n % 2]) for n in range(50))
    )

    assert [answer.status_code for answer in answers].count(200) == 1


# ---- another SECRET_KEY ---------------------------------------------------------------------------------------------


async def test_an_authenticator_outlives_a_change_of_the_secret_key(start: Start) -> None:
    before = await start(secret_key=OLD_KEY)
    ada = await register(before.client)
    _, authenticator = await with_factor(before.client, ada)
    settings = before.parts.settings

    changed = await start(secret_key=NEW_KEY, secret_key_previous=OLD_KEY)
    assert (
        await second_step(changed.client, await first_step(changed.client, ada), code=authenticator.code())
    ).status_code == 200
    report = await clean_up(changed.parts.db, changed.parts.settings, None, None)
    assert report.deleted.factors == 0
    await changed.parts.db.execute("UPDATE totp_secrets SET last_step = 0")

    alone = await start(secret_key=NEW_KEY)
    answer = await second_step(alone.client, await first_step(alone.client, ada), code=authenticator.code())
    assert answer.status_code == 200
    lost = await start(secret_key=OLD_KEY)
    answer = await second_step(lost.client, await first_step(lost.client, ada), code=authenticator.code(1))
    problem(answer, 401, "invalid_mfa")
    assert settings.secret_key == OLD_KEY
    await clean_up(lost.parts.db, lost.parts.settings, None, None)  # what cannot be opened is left as it is
