"""A store that is away: what can be found out is answered, and what cannot is 503, never inactive and never 401."""

import pytest
from httpx import Response

from app.cli.embedded import Valkey
from app.clients import service as clients_service
from tests.clients.kit import Service, registered
from tests.health.conftest import Database
from tests.kit import SignedIn, log_in, problem, register, until
from tests.replica import Replica, Start


@pytest.fixture
async def here(start: Start) -> Replica:
    return await start()


@pytest.fixture
async def warm(here: Replica) -> tuple[Service, SignedIn]:
    """A client and a session that the caches know."""
    service = await registered(here.client, here.parts)
    session = await log_in(here.client, await register(here.client))
    await warmed(here, service, session)
    return service, session


async def warmed(here: Replica, service: Service, session: SignedIn) -> None:
    """What is asked for is in Valkey, now that no change of it is pending any more."""
    await until(lambda: not here.parts.entries.outbox.pending)
    assert (await service.introspect(session.access))["active"] is True


def unavailable(answer: Response) -> None:
    assert problem(answer, 503, "unavailable")["error"] == "temporarily_unavailable"
    assert int(answer.headers["retry-after"]) >= 1


async def test_without_valkey_postgresql_tells(warm: tuple[Service, SignedIn], own_valkey: Valkey) -> None:
    service, session = warm

    own_valkey.stop()

    assert (await service.introspect(session.access))["active"] is True
    assert (await service.introspect(session.refresh_token))["active"] is True
    await service.revoke(session.refresh_token)
    assert await service.introspect(session.access) == {"active": False}


async def test_without_postgresql_what_is_cached_is_told_and_nothing_is_ended(
    warm: tuple[Service, SignedIn], here: Replica, database: Database
) -> None:
    service, session = warm
    unknown = await log_in(here.client, await register(here.client))

    database.goes_away()

    assert (await service.introspect(session.access))["active"] is True
    unavailable(await service.ask("/introspect", unknown.access))
    assert await service.introspect("nonsense") == {"active": False}
    unavailable(await service.ask("/introspect", session.refresh_token))
    unavailable(await service.ask("/revoke", session.access))
    unavailable(await service.ask("/revoke", session.refresh_token))
    problem(await here.client.post("/revoke", data={"token": "x"}, auth=(service.id, "wrong")), 401, "invalid_client")


async def test_with_strict_revocation_what_postgresql_cannot_confirm_is_not_told(
    start: Start, database: Database
) -> None:
    replica = await start(strict_revocation=True)
    service = await registered(replica.client, replica.parts)
    session = await log_in(replica.client, await register(replica.client))
    await warmed(replica, service, session)

    database.goes_away()
    await until(lambda: replica.parts.entries.outbox.lost)  # or its word of a moment ago would still be good
    replica.parts.entries.outbox.trusted_until = 0.0

    unavailable(await service.ask("/introspect", session.access))


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_without_both_nothing_is_told(
    warm: tuple[Service, SignedIn], database: Database, own_valkey: Valkey, path: str
) -> None:
    service, session = warm

    database.goes_away()
    own_valkey.stop()

    for token in (session.access, session.refresh_token):
        unavailable(await service.ask(path, token))


async def test_what_lies_in_valkey_and_is_none_of_ours_makes_nobody_a_client(
    warm: tuple[Service, SignedIn], here: Replica
) -> None:
    service, session = warm
    for rubbish in (b"=", b"=rubbish", b"rubbish", b"=\xc3"):
        async with here.parts.entries.links.use() as link:
            await link.client.set(link.key(clients_service.TABLE_KEY), rubbish, ex=300)

        refused = await here.client.post("/introspect", data={"token": session.access}, auth=("ghc_x", "y"))

        problem(refused, 401, "invalid_client")
        assert (await service.introspect(session.access))["active"] is True
