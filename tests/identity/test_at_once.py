"""What comes at the same moment for the same people: everybody holds users first, by ascending ids, then sessions."""

import asyncio

from httpx import AsyncClient

from app.parts import Parts
from tests.identity.mailkit import proved, token, use
from tests.kit import Person, SignedIn, from_ip, log_in, new_name, register
from tests.mail.kit import Postbox

ROUNDS = 12  # of a race that a wrong order of locks loses in every second or third


async def reused(client: AsyncClient, ada: Person, number: int) -> list[dict[str, str]]:
    """Refresh tokens of so many sessions, each of which ends its session when it comes back."""
    old = []
    for _ in range(number):
        session = await log_in(client, ada)
        await (await session.refreshed()).refreshed()
        old.append({"refresh_token": session.refresh_token})
    return old


async def test_old_refresh_tokens_that_come_back_hold_up_no_deletion(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, postbox: Postbox, parts: Parts
) -> None:
    for _ in range(ROUNDS):
        ada = await proved(client, postbox)
        old = await reused(client, ada, 3)

        deleted, *answers = await asyncio.gather(
            admin.ask("DELETE", f"/users/{ada.id}", at=replicas[0]),
            *(replicas[number % 2].post("/refresh", json=body, headers=from_ip()) for number, body in enumerate(old)),
        )

        assert deleted.status_code == 204
        assert {answer.status_code for answer in answers} == {401}
        assert not await parts.db.fetch(
            "SELECT FROM mail_outbox WHERE user_id = $1 AND kind = 'session.reused'", ada.id
        )


async def test_old_refresh_tokens_that_come_back_leave_the_former_address_no_way_in(
    client: AsyncClient, replicas: list[AsyncClient], admin: SignedIn, postbox: Postbox, parts: Parts
) -> None:
    for _ in range(ROUNDS):
        ada = await proved(client, postbox)
        old = await reused(client, ada, 3)

        moved, *_ = await asyncio.gather(
            admin.ask("PATCH", f"/users/{ada.id}", at=replicas[0], json={"email": f"{new_name()}@example.org"}),
            *(replicas[number % 2].post("/refresh", json=body, headers=from_ip()) for number, body in enumerate(old)),
        )

        assert moved.status_code == 200
        assert not await parts.db.fetch(
            "SELECT FROM one_time_tokens WHERE user_id = $1 AND purpose = 'not_me' AND email = $2", ada.id, ada.email
        )


async def test_of_two_who_prove_each_others_address_both_get_an_answer(
    client: AsyncClient, replicas: list[AsyncClient], postbox: Postbox, parts: Parts
) -> None:
    for _ in range(ROUNDS):
        people = [await register(client, email=f"{new_name()}@example.org") for _ in range(2)]
        links = [token(await postbox.to(person.email or ""), "verify-email") for person in people]
        await parts.db.execute(
            """
            UPDATE one_time_tokens SET user_id = CASE user_id WHEN $1 THEN $2::bigint ELSE $1::bigint END
            WHERE user_id IN ($1, $2) AND purpose = 'email.verify'
            """,
            people[0].id,
            people[1].id,
        )

        answers = await asyncio.gather(*(use(replicas[number], "/email/verify", links[number]) for number in range(2)))

        assert [answer.status_code for answer in answers].count(204) >= 1
        assert {answer.status_code for answer in answers} <= {204, 401}
