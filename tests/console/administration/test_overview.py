"""The start page of administration, and its charts."""

import re
from datetime import UTC, datetime

import pytest
from httpx import AsyncClient

from app.console.charts import Series, bars, lines, scale, written
from app.edge import Edge
from app.errors import Unavailable
from app.parts import Parts
from tests.console.administration.kit import Browser, holding
from tests.kit import Person, SignedIn, from_ip, log_in, register

OVERVIEW = "/console/admin"


async def test_figures_of_now_and_of_lately_are_shown(root: Browser, client: AsyncClient, ada: Person) -> None:
    await log_in(client, ada)
    await client.post("/login", json={"username": ada.username, "password": "wrong horse"}, headers=from_ip())
    await register(client)

    page = await root.get(OVERVIEW)

    assert re.search(r"Sessions now [1-9]", page.text)
    assert re.search(r"Signed in [1-9]", page.text)
    assert re.search(r"Refused [1-9]", page.text)
    assert re.search(r"Sign-ups [1-9]", page.text)
    assert page.html.count('role="img"') == 4
    assert page.html.count("<desc ") == 4
    assert page.html.count("<table") == 4


@pytest.mark.parametrize(("span", "points"), [("24h", 25), ("7d", 7), ("30d", 30), ("12m", 12), ("nonsense", 25)])
async def test_the_time_shown_is_a_choice(root: Browser, session: SignedIn, span: str, points: int) -> None:
    page = await root.get(OVERVIEW, span=span)

    assert page.status == 200
    rows = page.html.count('<th scope="row">') / 4
    assert points - 1 <= rows <= points + 1


async def test_days_and_hours_are_the_readers(root: Browser) -> None:
    there = await root.get(OVERVIEW, tz="Asia/Kathmandu")
    nowhere = await root.get(OVERVIEW, tz="Middle/Earth")

    assert "Days and hours are those of Asia/Kathmandu." in there.text
    assert 'data-zone="Asia/Kathmandu"' in there.html
    assert "Days and hours are those of UTC." in nowhere.text


async def test_each_sees_the_figures_that_he_may_see(edge: Edge, parts: Parts, admin: SignedIn) -> None:
    pages = {
        right: (await (await holding(edge, parts, admin, right)).get(OVERVIEW)).text
        for right in ("users:read", "sessions:read", "audit:read", "roles:write")
    }

    assert {right for right, text in pages.items() if "Sessions now" in text} == {"sessions:read"}
    assert {right for right, text in pages.items() if "Refused sign-ins by reason" in text} == {"audit:read"}
    assert not any("Health" in text for text in pages.values())
    assert "Nothing to show here" in pages["roles:write"]


async def test_while_sessions_are_counted_for_the_first_time_the_rest_is_there(
    root: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_yet() -> None:
        raise Unavailable

    monkeypatch.setattr(parts.census, "figures", not_yet)

    page = await root.get(OVERVIEW)

    assert page.status == 200
    assert "Sessions now" not in page.text
    assert "Refused sign-ins by reason" in page.text


async def test_reasons_beyond_the_commonest_are_told_together(root: Browser, parts: Parts) -> None:
    statement = """
        INSERT INTO audit_events (event, details)
        SELECT 'login.failed', jsonb_build_object('reason', 'reason_' || n) FROM generate_series(1, 9) n
    """
    await parts.db.execute(statement)

    page = await root.get(OVERVIEW)

    assert "Others" in page.text
    assert "series-6" in page.html
    assert "series-7" not in page.html


def test_bars_stand_upon_one_another_and_end_at_a_round_number() -> None:
    drawn = bars(["a", "b"], ["a", "b"], [Series("one", [3, 0], 1), Series("two", [4, 0], 2)])

    assert drawn.top == 8
    first, second = drawn.columns[0].marks
    assert first.y == 62.5
    assert first.height == 37.5
    assert second.y == 12.5
    assert drawn.columns[1].marks == []
    assert [each.total for each in drawn.series] == [3, 4]


def test_lines_go_from_point_to_point() -> None:
    drawn = lines(["a", "b", "c"], ["a", "b", "c"], [Series("one", [0, 10, 5], 1)])

    assert [(each.y1, each.y2) for each in drawn.lines] == [(100.0, 0.0), (0.0, 50.0)]
    assert not drawn.is_empty


def test_nothing_is_no_chart_and_no_fault() -> None:
    assert bars([], [], [Series("one", [], 1)]).is_empty
    assert lines(["a"], ["a"], [Series("one", [0], 1)]).is_empty


@pytest.mark.parametrize(("values", "top"), [([], 4), ([4], 4), ([5], 6), ([11], 20), ([999], 1000), ([1001], 2000)])
def test_a_scale_ends_at_a_round_number_whose_half_is_whole(values: list[int], top: int) -> None:
    assert scale(values) == top
    assert top % 2 == 0


def test_labels_below_are_few_and_each_second_gives_way() -> None:
    labels = [str(number) for number in range(30)]

    ticks = bars(labels, labels, [Series("one", [1] * 30, 1)]).ticks

    assert [each.text for each in ticks] == ["2", "7", "12", "17", "22", "27"]
    assert [each.is_minor for each in ticks] == [False, True] * 3


def test_a_point_is_told_by_what_it_stands_for() -> None:
    at = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)

    assert written(at, UTC, "hour") == ("5 Jan, 09:30", "09:30")
    assert written(at, UTC, "day") == ("5 Jan 2026", "5 Jan")
    assert written(at, UTC, "month") == ("Jan 2026", "Jan")
