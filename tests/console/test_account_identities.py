"""Identities elsewhere: seen with what they are called, and unlinked after a question."""

from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient

from app.edge import Edge
from app.federation import queries as federation
from app.parts import Parts
from app.providers import GPUSTACK, Provider
from tests.console.account_kit import ACCOUNT, asks_who, missing, session_of, signed_in_long_ago, text_of, went
from tests.console.visitor import Visitor, form_of
from tests.kit import Person, log_in, register
from tests.replica import Start

IDENTITIES = f"{ACCOUNT}/identities"
NAME = "<i>augusta</i>"


async def linked(parts: Parts, person: Person, provider: str = "sso") -> UUID:
    async with parts.db.transaction() as tx:
        row = await federation.add(
            tx, person.id, provider, f"https://{provider}.example", str(uuid4()), username=NAME, email=None
        )
    assert row is not None
    return UUID(str(row["id"]))


@pytest.fixture
async def unlink(parts: Parts, ada: Person) -> str:
    """The address where Ada's identity is unlinked."""
    return f"{IDENTITIES}/{await linked(parts, ada)}/unlink"


async def test_nobody_has_any_at_first_and_the_page_says_so(inside: Visitor) -> None:
    assert "Nothing is linked" in (await inside.get(IDENTITIES)).text


async def test_what_can_be_linked_is_called_by_its_label_and_led_to(start: Start) -> None:
    providers = (Provider(name="sso", client_id="id", issuer="https://sso.example", label="Analytical Engines"),)
    replica = await start(oidc_providers=providers)
    ada = await register(replica.client)
    visitor = Visitor(replica.edge)
    await visitor.sign_in(ada)

    page = await visitor.get(IDENTITIES)

    assert f'href="{IDENTITIES}/link/sso">Analytical Engines</a>' in page.text
    await linked(replica.parts, ada)
    assert "<strong>Analytical Engines</strong>" in (await visitor.get(IDENTITIES)).text


async def test_an_identity_is_unlinked_after_a_question(
    inside: Visitor, ada: Person, client: AsyncClient, unlink: str
) -> None:
    page = await inside.get(IDENTITIES)
    assert NAME in text_of(page)
    assert NAME not in page.text
    assert f'href="{unlink}"' in page.text

    answer = await inside.send(await inside.get(unlink), unlink)

    assert "The identity has been unlinked." in await went(inside, answer, IDENTITIES)
    assert (await session_of(inside, client).ask("GET", "/me/identities")).json()["items"] == []
    missing(await inside.get(unlink))


async def test_the_one_that_keeps_the_account_is_not_offered_and_stays(
    inside: Visitor, ada: Person, parts: Parts
) -> None:
    unlink = f"{IDENTITIES}/{await linked(parts, ada, GPUSTACK)}/unlink"

    page = await inside.get(IDENTITIES)
    answer = await inside.send(await inside.get(unlink), unlink)

    assert "Manages your account" in page.text
    assert unlink not in page.text
    assert answer.status_code == 409
    assert "the one that the account is known by" in answer.text


async def test_somebody_elses_is_none(client: AsyncClient, edge: Edge, parts: Parts, ada: Person, unlink: str) -> None:
    other, grace = Visitor(edge), await register(client)
    await linked(parts, grace)
    await other.sign_in(grace)
    token = {"csrf_token": form_of(await other.get(ACCOUNT), ACCOUNT).fields["csrf_token"]}

    for path in (unlink, f"{IDENTITIES}/{uuid4()}/unlink"):
        missing(await other.get(path))
        missing(await other.post(path, token))
    owner = await log_in(client, ada)
    assert len((await owner.ask("GET", "/me/identities")).json()["items"]) == 1


async def test_unlinking_needs_a_present_sign_in(
    inside: Visitor, client: AsyncClient, parts: Parts, unlink: str
) -> None:
    question = await inside.get(unlink)
    await signed_in_long_ago(inside, client, parts)

    asks_who(await inside.get(unlink), unlink)
    asks_who(await inside.send(question, unlink), unlink)
