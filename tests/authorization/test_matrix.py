"""Every route, asked by every kind of caller, answers what `matrix.txt` says."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from httpx import AsyncClient

from app.parts import Parts
from app.settings import Settings
from tests.authorization.cast import Cast
from tests.authorization.matrix import KINDS, LET_IN, REFUSALS, ROWS, Row
from tests.authorization.requests import BY_UNDERSTUDIES, REQUESTS, Scene, Sent
from tests.conftest import ADMIN
from tests.federation.kit import Browser, without_a_jar
from tests.federation.realm import Authority, Realm
from tests.identity.importkit import NDJSON
from tests.kit import BASE, from_ip, log_in, problem
from tests.replica import serving

ROOT = "https://auth.example.test"
AT_THE_ROOT = ("/.well-known/", "/metrics")


@pytest.fixture(scope="session")
async def cast(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    """At an application that knows a sign-in provider."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    realm = Realm(authority, settings.public_url)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(realm.server)
        op = realm.take()
        house = await stack.enter_async_context(serving(realm.known_to(settings, [op.name])))
        web = await stack.enter_async_context(AsyncClient(verify=authority.trusting()))
        client = without_a_jar(house.client)
        yield Cast(client, house.parts, await log_in(client, ADMIN), Browser(client, without_a_jar(web)), op)


async def asked(cast: Cast, row: Row, kind: str) -> str | None:
    """What is wrong with the answer."""
    new = str(row) in BY_UNDERSTUDIES and row.cells[kind] == LET_IN
    scene = Scene(cast, row, kind, await (cast.new if new else cast.caller)(kind))
    sent = await REQUESTS[str(row)](scene) if str(row) in REQUESTS else Sent()
    base = ROOT if row.path.startswith(AT_THE_ROOT) else f"{ROOT}{BASE}"
    url = base + row.path.format(**sent.path)
    headers = {**from_ip(), **scene.caller.headers}
    if sent.cookies:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in sent.cookies.items())
    body: dict[str, Any] = {"json": sent.json} if sent.form is None else {"data": sent.form}
    if sent.lines is not None:
        body = {"content": sent.lines}
        headers |= NDJSON
    answer = await cast.client.request(row.method, url, params=sent.query, headers=headers, **body)
    try:
        if row.cells[kind] == LET_IN:
            assert answer.is_success or answer.status_code == 302, f"{answer.status_code}: {answer.text}"
        else:
            problem(answer, *REFUSALS[row.cells[kind]])
    except AssertionError as error:
        return f"{kind}: {row.cells[kind]} was expected; {error}"
    return None


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_every_kind_of_caller_gets_what_the_matrix_says(cast: Cast, row: Row) -> None:
    wrong = [await asked(cast, row, kind) for kind in KINDS]

    assert [each for each in wrong if each] == []


async def test_every_route_has_a_row_and_every_row_a_route(client: AsyncClient) -> None:
    document = (await client.get(f"{ROOT}/openapi.json")).json()

    routes = {
        f"{method.upper()} {path.removeprefix(BASE)}"
        for path, operations in document["paths"].items()
        for method in operations
    }

    assert routes == {f"{row.method} {row.path}" for row in ROWS}
    assert len({str(row) for row in ROWS}) == len(ROWS)


def test_every_request_is_of_a_row() -> None:
    assert set(REQUESTS) - {str(row) for row in ROWS} == set()


async def test_every_permission_is_a_kind_of_caller(client: AsyncClient, parts: Parts) -> None:
    """Those that the service brings along, and those that a route asks for."""
    rows = await parts.db.fetch("SELECT name FROM permissions WHERE description <> ''")
    document = (await client.get(f"{ROOT}/openapi.json")).text
    asked_for = re.findall(r"Needs the permission `([^`]+)`", document)

    assert {kind for kind in KINDS if ":" in kind} == {row["name"] for row in rows} | set(asked_for)
