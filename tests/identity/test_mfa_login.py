"""Signing in by two steps: each code works once, and what is between the steps counts."""

import asyncio

import pytest
from httpx import AsyncClient

from app.maintenance.service import clean_up
from app.parts import Parts
from tests.health.kit import scraped, value
from tests.identity.factorkit import enrolled, first_step, second_step, with_factor, within_a_step
from tests.identity.kit import events
from tests.identity.mailkit import proved, token, use
from tests.kit import Person, SignedIn, from_ip, log_in, new_password, problem, register
from tests.mail.kit import Postbox
from tests.replica import Start

OLD_KEY, NEW_KEY = (f"{name}-key-of-the-tests-{32 * name[0]}" for name in ("old", "new"))


async def test_a_login_takes_two_steps_and_says_so(client: AsyncClient, ada: Person) -> None:
    _, authenticator = await with_factor(client, ada)

    body = {"username": ada.username, "password": ada.password, "device_name": "Ada's laptop"}
    due = problem(await client.post("/login", json=body, headers=from_ip()), 401, "mfa_required")
    answer = await second_step(client, due["mfa_token"], code=authenticator.code())

    assert due["methods"] == ["totp", "recovery_code"]
    session = SignedIn(client, answer.json())
    assert session.claims["amr"] == ["pwd", "otp", "mfa"]
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

    mfa_token = await first_step(client, ada)
    answer = await within_a_step(lambda: second_step(client, mfa_token, code=authenticator.code(ahead)))

    assert answer.status_code == 200


@pytest.mark.parametrize("ahead", [-3, 3])
async def test_but_not_by_more(client: AsyncClient, ada: Person, parts: Parts, ahead: int) -> None:
    _, authenticator = await with_factor(client, ada)
    await parts.db.execute("UPDATE totp_secrets SET last_step = 0 WHERE user_id = $1", ada.id)

    problem(
        await second_step(client, await first_step(client, ada), code=authenticator.code(ahead)), 401, "invalid_mfa"
    )


@pytest.mark.parametrize("by", ["code", "recovery_code"])
async def test_of_fifty_logins_with_one_code_one_gets_in(unlimited: list[AsyncClient], by: str) -> None:
    here = unlimited[0]
    ada = await register(here)
    first, authenticator = await with_factor(here, ada)
    pending = [await first_step(here, ada) for _ in range(50)]
    code = authenticator.code() if by == "code" else authenticator.codes[0]

    answers = await asyncio.gather(
        *(second_step(unlimited[n % 2], mfa_token, **{by: code}) for n, mfa_token in enumerate(pending))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + 49 * [401]
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"invalid_mfa"}
    assert len((await first.ask("GET", "/me/sessions")).json()["items"]) == 2


async def test_a_code_on_paper_works_once_however_it_is_written(client: AsyncClient, ada: Person) -> None:
    _, authenticator = await with_factor(client, ada)
    written = authenticator.codes[0].upper().replace("-", " ").replace("0", "O").replace("1", "l")
    mfa_token = await first_step(client, ada)

    assert (await second_step(client, mfa_token, recovery_code=written)).status_code == 200

    for again in (written, authenticator.codes[0]):
        mfa_token = await first_step(client, ada)
        problem(await second_step(client, mfa_token, recovery_code=again), 401, "invalid_mfa")


async def test_a_login_has_five_tries(client: AsyncClient, replicas: list[AsyncClient], ada: Person) -> None:
    _, authenticator = await with_factor(client, ada)
    mfa_token = await first_step(client, ada)

    answers = await asyncio.gather(*(second_step(replicas[n % 2], mfa_token, code="000000") for n in range(5)))

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


async def test_a_code_on_paper_is_told_with_how_many_are_left(client: AsyncClient, postbox: Postbox) -> None:
    ada = await proved(client, postbox)
    _, authenticator = await with_factor(client, ada)

    await second_step(client, await first_step(client, ada), recovery_code=authenticator.codes[7])

    told = await postbox.to(ada.email or "", 3)
    assert told.message["Subject"] == "A recovery code was used"
    assert "9 left" in told.part("plain").replace("\n", " ")
    assert token(told, "not-me")


async def test_a_wrong_code_is_in_the_trail_and_in_the_metrics(client: AsyncClient, ada: Person, parts: Parts) -> None:
    _, authenticator = await with_factor(client, ada)
    mfa_token = await first_step(client, ada)
    before = value(await scraped(client), "auth_login_failure_total", reason="invalid_mfa")

    for wrong in ({"code": "000000"}, {"recovery_code": authenticator.codes[0][1:]}):
        problem(await second_step(client, mfa_token, **wrong), 401, "invalid_mfa")

    after = value(await scraped(client), "auth_login_failure_total", reason="invalid_mfa")
    assert after - before == 2
    assert [each for each in await events(parts, ada.id) if each[0] == "login.failed"] == 2 * [
        ("login.failed", {"reason": "invalid_mfa"})
    ]


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


async def test_a_login_that_nobody_is_let_in_by_uses_up_no_code(client: AsyncClient, ada: Person) -> None:
    session, authenticator = await with_factor(client, ada)
    mfa_token = await first_step(client, ada)
    change = {"current_password": ada.password, "new_password": new_password()}
    assert (await session.ask("POST", "/me/password", json=change)).status_code == 204

    refused = await second_step(client, mfa_token, recovery_code=authenticator.codes[0])

    problem(refused, 401, "invalid_mfa")
    assert (await session.ask("GET", "/me/export")).json()["second_factor"]["recovery_codes"] == 10


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


async def test_a_new_password_by_a_link_does_not_skip_it(client: AsyncClient, postbox: Postbox) -> None:
    ada = await proved(client, postbox)
    await with_factor(client, ada)
    await client.post("/password/forgot", json={"email": ada.email}, headers=from_ip())
    new = new_password()
    link = token(await postbox.to(ada.email or "", 3), "reset-password")

    assert (await use(client, "/password/reset", link, new_password=new)).status_code == 204

    await first_step(client, Person(ada.id, ada.username, new))


async def test_a_login_that_waits_does_not_outlast_a_deactivation(
    client: AsyncClient, admin: SignedIn, ada: Person
) -> None:
    _, authenticator = await with_factor(client, ada)
    mfa_token = await first_step(client, ada)
    for active in (False, True):
        await admin.ask("PATCH", f"/users/{ada.id}", json={"is_active": active})

    problem(await second_step(client, mfa_token, code=authenticator.code()), 401, "invalid_mfa")


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
