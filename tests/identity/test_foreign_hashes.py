"""Who comes with a hash that other software has made: signed in, upgraded, and refused like by a wrong password."""

import hashlib
import unicodedata

import bcrypt
import pytest
from httpx import AsyncClient, Response
from structlog.testing import capture_logs

from app.parts import Parts
from tests.identity.factorkit import first_step, second_step, with_factor
from tests.identity.hashkit import BOMBS, FOREIGN, PASSWORD, each_kind
from tests.kit import Person, from_ip, log_in, problem, register


async def with_hash(client: AsyncClient, parts: Parts, stored: str) -> Person:
    """Somebody whose password is PASSWORD by a hash that has come from elsewhere."""
    person = await register(client)
    person.password = PASSWORD
    await put(parts, person, stored)
    return person


async def put(parts: Parts, person: Person, stored: str) -> None:
    await parts.db.execute("UPDATE users SET password_hash = $2 WHERE id = $1", person.id, stored)


async def held(parts: Parts, person: Person) -> str:
    row = await parts.db.fetchrow("SELECT password_hash FROM users WHERE id = $1", person.id)
    assert row is not None
    return str(row["password_hash"])


async def attempt(client: AsyncClient, person: Person, password: str) -> Response:
    body = {"username": person.username, "password": password}
    return await client.post("/login", json=body, headers=from_ip())


@each_kind
async def test_who_signs_in_by_a_foreign_hash_has_one_of_ours_from_then_on(
    client: AsyncClient, parts: Parts, stored: str
) -> None:
    person = await with_hash(client, parts, stored)

    problem(await attempt(client, person, PASSWORD.swapcase()), 401, "invalid_credentials")
    assert await held(parts, person) == stored

    await log_in(client, person)
    ours = await held(parts, person)
    await log_in(client, person)

    assert ours.startswith("$argon2id$v=19$m=8192,t=1,p=1$")
    assert await held(parts, person) == ours
    problem(await attempt(client, person, PASSWORD.swapcase()), 401, "invalid_credentials")


@each_kind
async def test_so_has_who_still_has_to_show_a_second_factor(
    client: AsyncClient, ada: Person, parts: Parts, stored: str
) -> None:
    _, authenticator = await with_factor(client, ada)
    await put(parts, ada, stored)
    ada.password = PASSWORD

    problem(await attempt(client, ada, PASSWORD.swapcase()), 401, "invalid_credentials")
    mfa_token = await first_step(client, ada)

    assert (await held(parts, ada)).startswith("$argon2id$v=19$m=8192,t=1,p=1$")
    assert (await second_step(client, mfa_token, code=authenticator.code())).status_code == 200
    await first_step(client, ada)


@pytest.mark.parametrize(
    "stored", [*BOMBS, "$2b$04$", "pbkdf2_sha256$1000$salt$", "!unusable", "md5$salt$x", "x" * 100_000]
)
async def test_a_hash_that_is_refused_answers_like_a_wrong_password_at_the_cost_of_ours(
    client: AsyncClient, ada: Person, parts: Parts, verified: list[str], stored: str
) -> None:
    wrong = await attempt(client, ada, "wrong horse")
    await put(parts, ada, stored)
    verified.clear()

    with capture_logs() as logs:
        refused = await attempt(client, ada, ada.password)

    assert [alike(answer) for answer in (refused, wrong)] == [alike(wrong)] * 2
    assert verified == [parts.passwords._dummy]
    assert [line["log_level"] for line in logs if line["event"] == "password.hash_refused"] == ["warning"]
    assert await held(parts, ada) == stored


def alike(answer: Response) -> tuple[object, ...]:
    body = problem(answer, 401, "invalid_credentials")
    return {**body, "request_id": ""}, sorted(answer.headers.keys())


async def test_a_foreign_hash_serves_whoever_confirms_by_password_too(
    client: AsyncClient, ada: Person, parts: Parts
) -> None:
    session = await log_in(client, ada)
    await put(parts, ada, FOREIGN["Werkzeug, scrypt"])

    wrong = await session.ask("POST", "/me/reauthenticate", json={"password": ada.password})
    right = await session.ask("POST", "/me/reauthenticate", json={"password": PASSWORD})

    problem(wrong, 401, "invalid_credentials")
    assert right.status_code == 200


async def test_a_password_of_a_foreign_hash_is_taken_as_it_was_typed_there(client: AsyncClient, parts: Parts) -> None:
    composed, decomposed = (unicodedata.normalize(form, PASSWORD) for form in ("NFC", "NFD"))
    made = hashlib.pbkdf2_hmac("sha256", decomposed.encode(), b"salt", 1000)
    person = await with_hash(client, parts, f"pbkdf2:sha256:1000$salt${made.hex()}")

    problem(await attempt(client, person, composed), 401, "invalid_credentials")
    assert (await attempt(client, person, decomposed)).status_code == 200
    assert (await attempt(client, person, composed)).status_code == 200


async def test_a_long_password_counts_in_full_once_the_hash_is_ours(client: AsyncClient, parts: Parts) -> None:
    password = 80 * "x"
    person = await with_hash(client, parts, bcrypt.hashpw(password[:72].encode(), bcrypt.gensalt(4)).decode())
    person.password = password

    await log_in(client, person)

    problem(await attempt(client, person, password[:-1]), 401, "invalid_credentials")
    assert (await attempt(client, person, password)).status_code == 200
