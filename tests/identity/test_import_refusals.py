"""Lines that cannot be taken, each with its code and in nobody's way; and imports that end early."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient

from app import body
from app.deadlines import Deadlines
from app.edge import Edge
from app.identity import import_lines, imports, transfer_controllers
from app.identity.import_batch import Importer
from app.parts import Parts
from tests.conftest import ADMIN, Twins
from tests.errors.kit import CANARY, nested
from tests.identity.hashkit import BOMBS
from tests.identity.importkit import NDJSON, code, in_pieces, ndjson, new_line, report, send, shown, take
from tests.identity.kit import change, new_role, person
from tests.kit import Person, SignedIn, log_in, new_name, new_password, problem

BAD: dict[str, tuple[str, bytes]] = {
    "cut off": ("malformed_request", b'{"username": "' + CANARY.encode()),
    "no UTF-8": ("malformed_request", b'{"username": "\xff"}'),
    "NUL": ("malformed_request", rb'{"username": "a\u0000b"}'),
    "a name twice": ("malformed_request", b'{"username": "a", "username": "b"}'),
    "too deep": ("malformed_request", nested(70)),
    "a list": ("validation_failed", b"[]"),
    "no name": ("validation_failed", b'{"email": "a@example.org"}'),
    "an unknown field": ("validation_failed", b'{"username": "a", "' + CANARY.encode() + b' ": 1}'),
    "a name that is none": ("validation_failed", b'{"username": "-a"}'),
    "a name with its line's end": ("validation_failed", rb'{"username": "a\n"}'),
    "another type": ("validation_failed", b'{"username": "a", "is_active": "true"}'),
    "no address": ("validation_failed", b'{"username": "a", "email": "' + CANARY.encode() + b'"}'),
    "a full name that deceives": ("validation_failed", '{"username": "a", "full_name": "\u0410dmin"}'.encode()),
    "an unknown role": ("validation_failed", b'{"username": "%s", "roles": ["nobody-has-it"]}' % new_name().encode()),
    "a contradiction": ("validation_failed", b'{"username": "a", "is_admin": true, "roles": []}'),
    "two passwords": ("validation_failed", b'{"username": "a", "password": "x", "password_hash": "y"}'),
    "a hash of no kind": ("validation_failed", b'{"username": "a", "password_hash": "' + CANARY.encode() + b'"}'),
    "a hash that costs too much": ("validation_failed", ndjson({"username": "a", "password_hash": BOMBS[0]}).strip()),
    "somebody of another service's": ("validation_failed", b'{"username": "a", "provider": "gpustack"}'),
    "too long": ("payload_too_large", b" " * 70_000 + b"{}"),
}


async def test_no_line_is_in_the_way_of_another(admin: SignedIn) -> None:
    good = [new_line() for _ in BAD]
    lines = [line for pair in zip((bad for _, bad in BAD.values()), good, strict=True) for line in pair]

    said = report(await send(admin, in_pieces(ndjson(*lines), 1000)))

    assert [each["line"] for each in said] == list(range(1, 2 * len(BAD) + 1))
    assert [each.get("code") for each in said[::2]] == [expected for expected, _ in BAD.values()]
    assert [each["status"] for each in said[1::2]] == ["created"] * len(BAD)
    assert all(each["message"] for each in said[::2])
    assert CANARY not in str(said)


async def test_blank_lines_count_and_the_last_one_needs_no_end(admin: SignedIn) -> None:
    lines = [ndjson(new_line()).strip() for _ in range(3)]

    said = report(await send(admin, b"\n%s\r\n\r\n  \n%s\n\n%s" % tuple(lines)))

    assert [(each["line"], each["status"]) for each in said] == [(2, "created"), (5, "created"), (7, "created")]


async def test_nothing_is_nothing(admin: SignedIn) -> None:
    for sent in (b"", b"\n \n"):
        assert report(await send(admin, sent)) == []


async def test_the_same_name_comes_once(admin: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_lines, "BATCH", 2)
    line = new_line(full_name="First")
    again = {"username": str(line["username"]).upper(), "full_name": "Second"}

    said = await take(admin, line, again, new_line(), again)

    assert [each["status"] for each in said] == ["created", "error", "created", "error"]
    assert said[1]["code"] == said[3]["code"] == "username_taken"
    assert (await shown(admin, said[0]["id"]))["full_name"] == "First"


async def test_an_address_has_one_owner(admin: SignedIn) -> None:
    taken, free = f"{new_name()}@example.org", f"{new_name()}@example.org"
    await person(admin, email=taken)
    grace, edsger = await person(admin), await person(admin)

    said = await take(
        admin,
        new_line(email=taken),
        new_line(email=free),
        new_line(email=free.upper()),
        {"username": grace.username, "email": taken},
        {"username": grace.username.upper(), "email": free},
        {"username": edsger.username, "email": free},
    )

    assert [each.get("code") for each in said] == [
        "email_taken", None, "email_taken", "email_taken", "username_taken", "email_taken"
    ]  # fmt: skip
    both = f"{new_name()}@example.org"
    said = await take(admin, *({"username": each.username, "email": both} for each in (grace, edsger)))
    assert [each.get("code") for each in said] == [None, "email_taken"]


# ---- rights -------------------------------------------------------------------------------------------------------


async def test_nobody_imports_what_is_above_his_own_rights(
    deputy: SignedIn, admin: SignedIn, ada: Person, parts: Parts
) -> None:
    within, beyond = await new_role(parts, "users:read"), await new_role(parts, "users:read", "audit:read")
    root = await person(admin, is_admin=True)
    auditor = await person(admin, roles=[beyond])

    said = await take(
        deputy,
        new_line(is_admin=True),
        new_line(roles=["admin"]),
        new_line(roles=[within, beyond]),
        {"username": ada.username, "roles": [beyond]},
        {"username": root.username, "is_active": False},
        {"username": root.username.upper()},
        {"username": auditor.username, "full_name": "Eve"},
        new_line(roles=[within]),
    )
    again = await take(deputy, {"username": ada.username, "roles": [within]}, {"username": auditor.username})

    assert [each.get("code") for each in said] == [*["forbidden"] * 5, "username_taken", "forbidden", None]
    assert [each["status"] for each in again] == ["updated", "error"]
    assert (await shown(admin, root.id))["is_active"]
    assert (await shown(admin, auditor.id))["full_name"] is None


async def test_ones_own_address_is_proved_and_not_imported(deputy: SignedIn) -> None:
    own = {"username": deputy.body["user"]["username"]}

    assert await code(deputy, {**own, "email": f"{new_name()}@example.org"}) == "forbidden"
    assert [each["status"] for each in await take(deputy, {**own, "full_name": "Grace"})] == ["updated"]


async def test_an_import_leaves_an_administrator(twins: Twins) -> None:
    root = await log_in(twins.here, ADMIN)
    other = await person(root, is_admin=True)

    said = await take(
        root,
        {"username": other.username, "is_active": False},
        {"username": ADMIN.username, "is_admin": False},
    )
    assert [each.get("code") for each in said] == [None, "last_admin"]

    said = await take(
        root,
        {"username": ADMIN.username, "roles": []},
        {"username": other.username, "is_active": True},
    )
    assert [each.get("code") for each in said] == ["last_admin", None]

    said = await take(root, {"username": ADMIN.username, "is_active": False}, new_line(is_admin=True))
    assert [each["status"] for each in said] == ["updated", "created"]
    problem(await root.ask("GET", "/users"), 401, "session_revoked")


@pytest.mark.usefixtures("small_batches")
async def test_who_is_signed_out_imports_nothing_more(client: AsyncClient, admin: SignedIn) -> None:
    grace = await log_in(client, await person(admin, is_admin=True))
    first, second = [new_line(), new_line()], [new_line(), new_line()]

    async def lines() -> AsyncIterator[bytes]:
        yield ndjson(*first)
        assert (await grace.ask("POST", "/logout")).status_code == 204
        yield ndjson(*second)

    found = problem(await send(grace, lines()), 401, "session_revoked")

    assert "The first 2 lines are done" in found["detail"]
    assert [each["status"] for each in await take(admin, *first, *second)] == ["skipped"] * 2 + ["created"] * 2


@pytest.mark.usefixtures("small_batches")
async def test_who_may_less_imports_nothing_more(client: AsyncClient, admin: SignedIn) -> None:
    grace = await person(admin, is_admin=True)
    first, second = [new_line(), new_line()], [new_line(), new_line()]

    async def lines() -> AsyncIterator[bytes]:
        yield ndjson(*first)
        assert (await change(admin, grace.id, is_admin=False)).status_code == 200
        yield ndjson(*second)
        yield ndjson(new_line())

    problem(await send(await log_in(client, grace), lines()), 403, "forbidden")

    assert [each["status"] for each in await take(admin, *first, *second)] == ["skipped"] * 2 + ["created"] * 2


# ---- bounds -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_lines, "BATCH", 2)


async def stalled(*lines: object) -> AsyncIterator[bytes]:
    """A body whose client falls silent after these."""
    yield ndjson(*lines)
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
async def test_another_type_is_not_read(admin: SignedIn, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}

    answer = await admin.ask("POST", "/users/import", content=ndjson(new_line()), headers=headers)

    problem(answer, 415, "unsupported_media_type")


async def test_the_other_name_of_the_type_is_read(admin: SignedIn) -> None:
    headers = {"Content-Type": "application/jsonl; charset=utf-8"}

    answer = await admin.ask("POST", "/users/import", content=ndjson(new_line()), headers=headers)

    assert [each["status"] for each in report(answer)] == ["created"]


async def test_a_body_may_be_larger_than_others_and_is_not_held(
    admin: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "MAX_HELD_BYTES", 200_000)
    lines = [ndjson(new_line()).strip() + b" " * 60_000 for _ in range(20)]

    said = report(await send(admin, in_pieces(ndjson(*lines), 50_000)))

    assert [each["status"] for each in said] == ["created"] * 20


async def test_more_bytes_than_may_come_are_refused_before_they_come(admin: SignedIn) -> None:
    line = new_line()
    headers = {**NDJSON, "Content-Length": str(transfer_controllers.MAX_BYTES + 1)}

    answer = await admin.ask("POST", "/users/import", content=in_pieces(ndjson(line), 1000), headers=headers)

    problem(answer, 413, "payload_too_large")
    assert [each["status"] for each in await take(admin, line)] == ["created"]


@pytest.mark.usefixtures("small_batches")
async def test_more_lines_than_may_come_end_the_import(admin: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_controllers, "MAX_LINES", 4)
    lines = [new_line() for _ in range(5)]

    found = problem(await send(admin, ndjson(*lines)), 413, "payload_too_large")

    assert "The first 4 lines are done" in found["detail"]
    assert len(await take(admin, *lines[:4])) == 4
    problem(await send(admin, b"\n" * 5), 413, "payload_too_large")
    assert report(await send(admin, b"\n" * 4)) == []


@pytest.mark.usefixtures("small_batches")
async def test_a_body_that_stalls_ends_the_import(admin: SignedIn, edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_deadlines", Deadlines(0.01))
    monkeypatch.setattr(body, "MAX_STALL_SECONDS", 0.05)
    lines = [new_line(), new_line()]

    found = problem(await send(admin, stalled(*lines)), 408, "request_timeout")

    assert "The first 2 lines are done" in found["detail"]
    assert [each["status"] for each in await take(admin, *lines)] == ["skipped"] * 2


async def test_a_slow_body_may_take_longer_than_others(
    admin: SignedIn, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "_deadlines", Deadlines(0.01))
    monkeypatch.setattr(body, "MAX_BODY_SECONDS", 0.01)

    async def slow() -> AsyncIterator[bytes]:
        yield ndjson(new_line())
        await asyncio.sleep(0.05)  # that is what it is about
        yield ndjson(new_line())

    assert [each["status"] for each in report(await send(admin, slow()))] == ["created"] * 2

    monkeypatch.setattr(body, "MAX_STREAM_SECONDS", 0.01)
    problem(await send(admin, stalled(new_line())), 408, "request_timeout")


async def test_others_have_the_loop_while_lines_are_read(parts: Parts) -> None:
    """Also between a few that take long to read, whoever makes such."""
    dear = b'{"username":"ada","id":[' + b"[]," * 19_000 + b'[]],"no":1}\n'  # 5 ms and more
    turns, lines = 0, 10

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def refused() -> AsyncIterator[bytes]:
        yield dear * lines

    async def judge() -> Importer:
        raise AssertionError

    said: list[Any] = []
    counting = asyncio.create_task(count())
    await parts.imports.run(refused(), judge, said.extend)
    counting.cancel()

    assert [each.message for each in said] == ["no is not a field of this request"] * lines
    assert turns >= lines


async def test_a_password_waits_for_a_thread(admin: SignedIn, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0
    threads = parts.passwords.aside
    queued = threads.queued
    monkeypatch.setattr(imports, "PAUSE", 0.0)
    judge = parts.passwords.check_strength

    async def when_others_have_gone(*args: Any, **kwargs: Any) -> None:
        nonlocal tried
        tried += 1
        threads.queued = queued if tried > 3 else 1_000_000
        await judge(*args, **kwargs)

    monkeypatch.setattr(parts.passwords, "check_strength", when_others_have_gone)
    (said,) = await take(admin, new_line(password=new_password()))
    assert (said["status"], tried) == ("created", 4)

    tried = -1_000_000
    monkeypatch.setattr(imports, "PATIENCE", -1.0)
    try:
        problem(await send(admin, ndjson(new_line(password=new_password()))), 503, "overloaded")
    finally:
        threads.queued = queued
