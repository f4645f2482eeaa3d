"""Refusals are noted, whatever the stores are doing."""

from dataclasses import replace

import pytest

from app.client import Client
from app.errors import RateLimited, Unavailable
from app.limits import violations as violations_module
from app.limits.attempts import Counter
from app.limits.violations import Violations
from app.parts import Parts
from app.setting_values import Rate
from tests.kit import new_ip

CLIENT = Client(ip="192.0.2.1", user_agent="test", request_id="test")


def counter() -> Counter:
    return Counter("login", new_ip(), Rate(1, 60))


async def rows(parts: Parts) -> int:
    row = await parts.db.fetchrow("SELECT count(*) AS n FROM audit_events WHERE event = 'rate_limited'")
    assert row is not None
    return int(row["n"])


async def test_without_valkey_a_process_remembers_what_it_has_noted(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    violations = Violations(parts.db, parts.entries.links, parts.metrics)
    monkeypatch.setattr(parts.entries.links, "current", None)
    before, first, second = await rows(parts), counter(), counter()

    for each in (first, first, second, first):
        await violations.note(RateLimited("login", 60), [each], CLIENT, None)
    assert await rows(parts) == before + 2

    monkeypatch.setattr(violations_module, "REMEMBERED", 2)
    await violations.note(RateLimited("login", 60), [counter()], CLIENT, None)
    assert len(violations._noted) == 1


async def test_whatever_a_client_calls_itself_is_noted(parts: Parts) -> None:
    violations = Violations(parts.db, parts.entries.links, parts.metrics)
    before = await rows(parts)

    await violations.note(RateLimited("login", 60), [replace(counter(), key=f"{new_ip()} \ud83d")], CLIENT, None)

    assert await rows(parts) == before + 1


async def test_a_refusal_needs_no_postgresql(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    violations = Violations(parts.db, parts.entries.links, parts.metrics)
    monkeypatch.setattr(parts.db, "away", True)
    with pytest.raises(Unavailable):
        await parts.db.execute("SELECT 1")

    await violations.note(RateLimited("login", 60), [replace(counter(), rate=None)], CLIENT, None)
