"""Joining."""

import asyncio
from dataclasses import replace

import pytest
from httpx import AsyncClient

from app.parts import Parts
from app.settings import Settings
from tests.kit import from_ip, log_in, new_ip, new_name, new_password, problem, register
from tests.replica import serving


async def test_a_new_account_is_shown_as_it_is(client: AsyncClient, parts: Parts) -> None:
    name, email = new_name(), f"{new_name()}@Example.TEST"
    body = {"username": name, "password": new_password(), "email": email, "full_name": "Ada Lovelace"}

    answer = await client.post("/register", json=body, headers=from_ip())

    user = answer.json()
    assert answer.status_code == 201
    assert user["email"] == email.lower()
    assert (user["username"], user["full_name"], user["provider"]) == (name, "Ada Lovelace", "local")
    assert (user["is_active"], user["is_admin"], user["email_verified"]) == (True, False, False)
    assert (user["roles"], user["permissions"], user["last_login"]) == ([], [], None)
    events = await parts.db.fetch("SELECT event, actor_id FROM audit_events WHERE user_id = $1", user["id"])
    assert [tuple(row) for row in events] == [("user.registered", user["id"])]


async def test_a_name_and_an_address_belong_to_one(client: AsyncClient) -> None:
    person = await register(client, email=f"{new_name()}@example.test")

    name = await client.post(
        "/register", json={"username": person.username.upper(), "password": new_password()}, headers=from_ip()
    )
    address = await client.post(
        "/register",
        json={"username": new_name(), "password": new_password(), "email": str(person.email).upper()},
        headers=from_ip(),
    )

    problem(name, 409, "username_taken")
    problem(address, 409, "email_taken")


async def test_of_fifty_who_want_a_name_one_gets_it(replicas: list[AsyncClient]) -> None:
    name = new_name()

    answers = await asyncio.gather(
        *(
            replicas[number % 2].post(
                "/register", json={"username": name, "password": new_password()}, headers=from_ip()
            )
            for number in range(50)
        )
    )

    codes = [answer.status_code for answer in answers]
    assert codes.count(201) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {
        "username_taken",
        "overloaded",
    }


@pytest.mark.parametrize("name", ["", "-ada", ".ada", "ada lovelace", "ada@example.test", "ada\n", "ädä", "a" * 65])
async def test_a_local_name_has_its_form(client: AsyncClient, name: str) -> None:
    answer = await client.post("/register", json={"username": name, "password": new_password()}, headers=from_ip())

    errors = problem(answer, 422, "validation_failed")["errors"]
    assert [error["field"] for error in errors] == ["username"]


MALFORMED = ["ada", "ada@", "@example.test", "a b@example.test", "ada@exa mple.test", "a@b@c.d"]
NOWHERE = ["ada@192.0.2.1", "ada@example.0x1", f"{65 * 'a'}@example.org"]


@pytest.mark.parametrize("email", [*MALFORMED, *NOWHERE])
async def test_an_address_has_its_form(client: AsyncClient, email: str) -> None:
    body = {"username": new_name(), "password": new_password(), "email": email}
    answer = await client.post("/register", json=body, headers=from_ip())

    assert [error["field"] for error in problem(answer, 422, "validation_failed")["errors"]] == ["email"]


async def test_a_full_name_prints(client: AsyncClient) -> None:
    body = {"username": new_name(), "password": new_password(), "full_name": "Ada\u202e\u0007"}
    answer = await client.post("/register", json=body, headers=from_ip())

    assert [error["field"] for error in problem(answer, 422, "validation_failed")["errors"]] == ["full_name"]


async def test_a_weak_password_is_refused_and_not_repeated(client: AsyncClient) -> None:
    name = new_name("lovelace")
    for password in ("short", "password123", name, f"{name}1"):
        answer = await client.post("/register", json={"username": name, "password": password}, headers=from_ip())

        problem(answer, 422, "weak_password")
        assert password not in answer.text


async def test_three_registrations_an_hour_from_an_address(client: AsyncClient) -> None:
    ip = new_ip()
    answers = [
        await client.post("/register", json={"username": new_name(), "password": new_password()}, headers=from_ip(ip))
        for _ in range(4)
    ]

    assert [answer.status_code for answer in answers[:3]] == [201, 201, 201]
    problem(answers[3], 429, "rate_limited")
    assert 0 < int(answers[3].headers["retry-after"]) <= 3600


async def test_where_registration_is_closed_nobody_joins(settings: Settings) -> None:
    async with serving(replace(settings, registration="closed")) as closed:
        answer = await closed.client.post(
            "/register", json={"username": new_name(), "password": new_password()}, headers=from_ip()
        )

    problem(answer, 403, "forbidden")


async def test_a_password_is_compared_in_normal_form(client: AsyncClient) -> None:
    composed, decomposed = "Käse-Ümläut-Zebra-42", "Ka\u0308se-U\u0308mla\u0308ut-Zebra-42"
    person = await register(client, password=composed)
    person.password = decomposed

    assert (await log_in(client, person)).user_id == person.id


async def test_a_network_has_sixty_passwords_an_hour_judged(client: AsyncClient) -> None:
    """To judge one costs more than to refuse it, and a refused one is no registration."""
    here = from_ip()
    for _ in range(60):
        weak = {"username": new_name(), "password": "password1"}
        problem(await client.post("/register", json=weak, headers=here), 422, "weak_password")

    good = {"username": new_name(), "password": new_password()}
    problem(await client.post("/register", json=good, headers=here), 429, "rate_limited")


async def test_an_address_is_welcomed_by_three_letters_an_hour(client: AsyncClient, parts: Parts) -> None:
    """However often somebody registers with it and leaves again."""
    email, letters = f"{new_name()}@example.org", []
    for _ in range(4):
        ada = await register(client, email=email)
        links = await parts.db.fetch("SELECT FROM one_time_tokens WHERE user_id = $1", ada.id)
        letters.append(len(links))
        await (await log_in(client, ada)).ask("DELETE", "/me", json={"password": ada.password})

    assert letters == [1, 1, 1, 0]
