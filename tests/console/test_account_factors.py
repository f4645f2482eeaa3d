"""The authenticator and its recovery codes: set up, shown once, taken away, all without a script."""

import base64
import re
from urllib.parse import unquote

import pytest
from httpx import AsyncClient, Response

from app.parts import Parts
from tests.console.account_kit import ACCOUNT, asks_who, session_of, signed_in_long_ago, text_of, went
from tests.console.visitor import Visitor, form_of
from tests.identity.factorkit import Authenticator, enrolled, first_step, second_step, within_a_step
from tests.kit import Person

FACTORS = f"{ACCOUNT}/factors"
SET_UP, REMOVE, CODES = f"{FACTORS}/authenticator", f"{FACTORS}/authenticator/remove", f"{FACTORS}/codes"
CODE = re.compile(r"<li><code>([0-9a-z-]+)</code></li>")
PICTURE = re.compile(r'src="data:image/svg\+xml;base64,([^"]+)"')
FILE = re.compile(r'download="gatehouse-recovery-codes.txt" href="data:text/plain;charset=utf-8,([^"]+)"')


@pytest.fixture
async def authenticator(inside: Visitor, client: AsyncClient) -> Authenticator:
    """Ada's, of whom codes are asked by now."""
    return await enrolled(session_of(inside, client))


async def told_secret(visitor: Visitor) -> Response:
    """The page with the secret of a new authenticator."""
    page = await visitor.send(await visitor.get(SET_UP), SET_UP)
    assert page.status_code == 200, page.text
    return page


async def test_an_authenticator_is_set_up_and_asked_for_from_then_on(
    inside: Visitor, ada: Person, client: AsyncClient
) -> None:
    page = await told_secret(inside)
    authenticator = Authenticator(form_of(page, SET_UP).fields["secret"])

    done = await within_a_step(lambda: inside.send(page, SET_UP, code=authenticator.code(-1)))

    assert done.status_code == 200
    codes = CODE.findall(done.text)
    assert len(set(codes)) == 10
    found = FILE.search(text_of(done))
    assert found is not None
    assert unquote(found[1]).split() == codes
    on = await inside.get(FACTORS)
    assert ">On<" in on.text
    assert not any(code in on.text for code in codes)
    mfa_token = await first_step(client, ada)
    assert (await second_step(client, mfa_token, recovery_code=codes[3])).status_code == 200
    assert "<dd>9</dd>" in (await inside.get(FACTORS)).text


async def test_the_secret_is_a_picture_and_to_be_typed(inside: Visitor) -> None:
    page = await told_secret(inside)

    secret = form_of(page, SET_UP).fields["secret"]
    found = PICTURE.search(page.text)
    assert found is not None
    assert base64.b64decode(found[1]).startswith(b"<svg")
    assert " ".join(secret[at : at + 4] for at in range(0, 32, 4)) in page.text
    assert f"secret={secret}" in text_of(page)


async def test_after_a_wrong_code_the_same_picture_is_there(inside: Visitor) -> None:
    page = await told_secret(inside)

    again = await inside.send(page, SET_UP, code="000000")

    assert again.status_code == 401
    assert "This is not the code that your authenticator shows now." in again.text.partition('id="code-wrong">')[2]
    assert PICTURE.findall(again.text) == PICTURE.findall(page.text)
    assert form_of(again, SET_UP).fields == form_of(page, SET_UP).fields | {"code": "000000"}
    authenticator = Authenticator(form_of(again, SET_UP).fields["secret"])
    done = await within_a_step(lambda: inside.send(again, SET_UP, code=authenticator.code()))
    assert done.status_code == 200


async def test_without_a_code_the_field_says_so(inside: Visitor) -> None:
    again = await inside.send(await told_secret(inside), SET_UP, code=" ")

    assert again.status_code == 422
    assert 'id="code-wrong"' in again.text


@pytest.mark.parametrize("secret", ["", "A" * 31, "a" * 32, "A" * 31 + "\n", '"><script>alert(1)</script>', "A" * 5000])
async def test_what_is_no_secret_of_ours_is_not_painted(inside: Visitor, secret: str) -> None:
    page = await told_secret(inside)

    answer = await inside.send(page, SET_UP, secret=secret, code="123456")

    assert answer.status_code == 409
    assert "No authenticator waits to be confirmed." in answer.text
    assert "data:image" not in answer.text
    assert "<script>alert" not in answer.text


async def test_a_second_one_is_refused_and_the_first_goes_on(inside: Visitor, authenticator: Authenticator) -> None:
    answer = await inside.send(await inside.get(SET_UP), SET_UP)

    assert answer.status_code == 409
    assert "An authenticator is in use" in answer.text


async def test_new_codes_take_the_place_of_the_old_ones(
    inside: Visitor, ada: Person, client: AsyncClient, authenticator: Authenticator
) -> None:
    page = await inside.get(CODES)

    wrong = await inside.send(page, CODES, password="wrong horse")
    done = await inside.send(wrong, CODES, password=ada.password)

    assert wrong.status_code == 401
    assert "This is not your current password." in wrong.text.partition('id="password-wrong">')[2]
    new = CODE.findall(done.text)
    assert len(set(new)) == 10
    mfa_token = await first_step(client, ada)
    assert (await second_step(client, mfa_token, recovery_code=authenticator.codes[0])).status_code == 401
    assert (await second_step(client, mfa_token, recovery_code=new[0])).status_code == 200


async def test_new_codes_without_an_authenticator_are_refused(inside: Visitor, ada: Person) -> None:
    answer = await inside.send(await inside.get(CODES), CODES, password=ada.password)

    assert answer.status_code == 409
    assert "No second factor is in use." in answer.text


async def test_the_authenticator_is_removed_by_password_and_code(
    inside: Visitor, ada: Person, client: AsyncClient, authenticator: Authenticator
) -> None:
    page = await inside.get(REMOVE)

    answer = await within_a_step(lambda: inside.send(page, REMOVE, password=ada.password, code=authenticator.code()))

    assert "Signing in no longer asks for a code." in await went(inside, answer, FACTORS)
    body = {"username": ada.username, "password": ada.password}
    assert (await client.post("/login", json=body)).status_code == 200


async def test_who_has_lost_it_removes_it_by_a_recovery_code(
    inside: Visitor, ada: Person, authenticator: Authenticator
) -> None:
    typed = {"password": ada.password, "recovery_code": authenticator.codes[0]}

    answer = await inside.send(await inside.get(REMOVE), REMOVE, **typed)

    await went(inside, answer, FACTORS)


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"code": "000000", "password": "wrong horse"}, "password"),
        ({"code": "000000"}, "code"),
        ({"recovery_code": "0000-0000"}, "code"),
        ({}, "code"),
        ({"code": "000000", "recovery_code": "0000-0000"}, "code"),
        ({"code": "000000", "password": ""}, "password"),
        ({"code": "0" * 100}, "code"),
    ],
)
async def test_a_removal_that_is_refused_says_beside_which_field(
    inside: Visitor, ada: Person, authenticator: Authenticator, typed: dict[str, str], field: str
) -> None:
    answer = await inside.send(await inside.get(REMOVE), REMOVE, **{"password": ada.password, **typed})

    assert answer.status_code in {401, 422}
    assert f'id="{field}-wrong"' in answer.text
    assert ">On<" in (await inside.get(FACTORS)).text
    if "recovery_code" in typed:
        assert '<details class="mb-3" open>' in answer.text


async def test_each_step_needs_a_present_sign_in(inside: Visitor, client: AsyncClient, parts: Parts) -> None:
    page = await told_secret(inside)
    await signed_in_long_ago(inside, client, parts)

    for path in (SET_UP, REMOVE, CODES):
        asks_who(await inside.get(path), path)
    asks_who(await inside.send(page, SET_UP, code="123456"), SET_UP)


async def test_who_has_no_password_is_asked_for_none(inside: Visitor, ada: Person, parts: Parts) -> None:
    authenticator = form_of(await told_secret(inside), SET_UP).fields["secret"]
    page = await inside.get(SET_UP)
    assert authenticator not in page.text
    await parts.db.execute("UPDATE users SET password_hash = NULL WHERE id = $1", ada.id)

    for path in (CODES, REMOVE):
        assert 'type="password"' not in (await inside.get(path)).text


async def test_few_codes_left_are_pointed_out(
    inside: Visitor, ada: Person, parts: Parts, authenticator: Authenticator
) -> None:
    assert "Create new ones" not in (await inside.get(FACTORS)).text
    await parts.db.execute(
        "DELETE FROM recovery_codes WHERE ctid IN (SELECT ctid FROM recovery_codes WHERE user_id = $1 LIMIT 8)", ada.id
    )

    assert "Create new ones" in (await inside.get(FACTORS)).text
