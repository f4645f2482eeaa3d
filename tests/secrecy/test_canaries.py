"""Secrets go through every route, and are found nowhere: not in logs, audit, metrics, stores, mails or answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import pytest
from httpx import AsyncClient

from app.cli import first_admin
from tests.clients.kit import Service
from tests.conftest import ADMIN, Apart, with_mail
from tests.federation.provider import CLIENT_SECRET
from tests.federation.realm import Authority, Realm
from tests.gpustack.scripted import Scripted
from tests.mail.kit import Postbox
from tests.mail.kit import serving as mail_server
from tests.replica import serving
from tests.secrecy.kit import Canaries, letters, stores
from tests.secrecy.lives import Lives
from tests.secrecy.witness import KEPT, PUBLIC, SECRET, Witness
from tests.servers import Servers

PLACES = ("PostgreSQL", "Valkey", "audit", "log", "mails", "metrics", "problems", "reads")


@dataclass
class Evidence:
    """What was sent, and what is left of it where."""

    canaries: Canaries
    witness: Witness
    places: dict[str, bytes]


@pytest.fixture(scope="module")
async def evidence(apart: Apart, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Evidence]:
    """Of a server in a process of its own, which says all it has to say, on stores of its own."""
    settings = apart("canaries")
    directory = tmp_path_factory.mktemp("server")
    canaries = Canaries()
    authority = Authority(tmp_path_factory.mktemp("authority"))
    realm = Realm(authority, settings.public_url)
    async with (
        mail_server(Postbox()) as postbox,
        Scripted() as gpustack,
        realm.server,
        AsyncClient(verify=authority.trusting()) as web,
    ):
        op, github = realm.take(), realm.take_github()
        settings = replace(  # in development: as in production GPUStack would have to speak TLS
            settings, environment="development", gpustack_url=gpustack.url, gpustack_api_key=gpustack.key
        )
        settings = realm.known_to(settings, [op.name, github.name])
        canaries.keep("client_secret of a provider", CLIENT_SECRET)
        canaries.keep("GPUSTACK_API_KEY", gpustack.key)
        settings = replace(with_mail(settings, postbox), log_level="debug", admin_username=ADMIN.username)
        await first_admin.make(settings, ADMIN.password)
        canaries.keep("SECRET_KEY", settings.secret_key)
        async with serving(settings) as replica:
            made = await replica.parts.clients.add("service")
        async with Servers(settings, directory, 1) as servers:
            (client,) = servers.clients
            document = (await client.get(client.base_url.join("/openapi.json"))).json()
            witness = Witness(client, canaries, document)
            lives = Lives(client, canaries, postbox, settings.public_url)
            await asyncio.gather(  # for much of it is waiting for mails
                lives.of_a_password(),
                lives.of_one_who_leaves(),
                lives.of_tokens(),
                lives.of_a_cookie(),
                lives.of_a_service(Service(client, made.client_id, made.client_secret)),
                lives.of_an_authenticator(),
                lives.of_a_passkey(),
                lives.of_a_sign_in(op, github, realm.server, web),
                lives.of_who_is_looked_after(),
                lives.of_many(),
                lives.of_one_of_gpustack(gpustack),
                lives.of_every_route(document, settings.metrics_token),
            )
            bearer = {"Authorization": f"Bearer {settings.metrics_token}"}
            metrics = (await client.get(client.base_url.join("/metrics"), headers=bearer)).content
            places = await stores(settings.database_url, settings.valkey_url)
        places |= {
            "audit": await audit(settings.database_url),
            "log": (directory / "replica-0.log").read_bytes(),
            "mails": letters(postbox.mails),
            "metrics": metrics,
            "problems": b"\n".join(witness.refusals),
            "reads": b"\n".join(witness.reads),
        }
        yield Evidence(canaries, witness, places)


async def audit(url: str) -> bytes:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT e::text AS row FROM audit_events AS e")
    await connection.close()
    return "\n".join(row["row"] for row in rows).encode()


def fields(schema: Any) -> Iterator[str]:
    """The names in a schema, and in those within it."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for each in schema.values():
            yield from fields(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from fields(each)


@pytest.mark.parametrize(
    ("place", "everyday"),
    [
        ("PostgreSQL", b"$argon2id$"),
        ("PostgreSQL", b"login.failed"),
        ("Valkey", b"gatehouse:"),
        ("audit", b"password.changed"),
        ("log", b'"level":"debug"'),
        ("log", b"/me/password"),
        ("problems", b"refresh_token_reused"),
        ("mails", b"reset-password"),
        ("metrics", b"auth_login_failure_total"),
        ("problems", b"invalid_mfa"),
        ("reads", b"last_accessed"),
    ],
)
async def test_what_is_looked_through_is_what_is_meant(evidence: Evidence, place: str, everyday: bytes) -> None:
    assert everyday in evidence.places[place]


@pytest.mark.parametrize("place", PLACES)
async def test_no_secret_is_left_anywhere(evidence: Evidence, place: str) -> None:
    assert evidence.canaries.found_in(evidence.places[place]) == []


@pytest.mark.parametrize("place", [place for place in PLACES if place != "PostgreSQL"])
async def test_a_hash_that_was_brought_along_is_in_postgresql_alone(evidence: Evidence, place: str) -> None:
    assert evidence.witness.hashes.found_in(evidence.places["PostgreSQL"])
    assert evidence.witness.hashes.found_in(evidence.places[place]) == []


async def test_every_route_has_served_and_refused(evidence: Evidence) -> None:
    witness = evidence.witness

    assert witness.routes - witness.served == set()
    assert witness.routes - witness.refused == set()


async def test_every_field_is_a_secret_or_none(evidence: Evidence) -> None:
    """Whoever adds one says which, in tests/secrecy/witness.py."""
    document = evidence.witness.document
    schemas = document["components"]["schemas"]
    named = {
        name
        for operations in document["paths"].values()
        for said in operations.values()
        for media in said.get("requestBody", {}).get("content", {}).values()
        for name in fields(whole(media["schema"], schemas))
    }

    assert named - SECRET - KEPT - PUBLIC == set()
    assert (SECRET | KEPT | PUBLIC) - named == set()


def whole(schema: Any, schemas: dict[str, Any]) -> Any:
    """With what it refers to in its place."""
    if isinstance(schema, list):
        return [whole(each, schemas) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return whole(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    return {name: whole(each, schemas) for name, each in schema.items()}
