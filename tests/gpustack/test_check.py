"""`gatehouse check`: whether GPUStack can be used, and what is in the way."""

from dataclasses import replace
from typing import Any

from app.cli import check
from app.cli.check import Finding
from tests.gpustack.scripted import Scripted, recorded
from tests.replica import settings_for


async def found(server: Scripted, **settings: Any) -> Finding:
    given = {"gpustack_url": server.url, "gpustack_api_key": server.key, **settings}
    (finding,) = [each async for each in check._gpustack(replace(settings_for("", ""), **given))]
    return finding


async def test_one_that_is_there_and_a_key_are_in_order(scripted: Scripted) -> None:
    finding = await found(scripted)

    assert (finding.status, "'admin'" in finding.message) == ("ok", True)
    assert scripted.key not in finding.message


async def test_without_a_key_it_says_what_is_missing(scripted: Scripted) -> None:
    finding = await found(scripted, gpustack_api_key="")

    assert (finding.status, "GPUSTACK_API_KEY" in finding.message) == ("warning", True)


async def test_a_key_that_is_none_is_an_error(scripted: Scripted) -> None:
    key = "gpustack_0000000000000000_0"
    finding = await found(scripted, gpustack_api_key=key)

    assert (finding.status, "GPUSTACK_API_KEY" in finding.message) == ("error", True)
    assert key not in finding.message


async def test_a_key_of_somebody_who_may_not_read_the_list_is_an_error(scripted: Scripted) -> None:
    scripted.users[3]["is_admin"] = False

    finding = await found(scripted)

    assert (finding.status, "administrator" in finding.message) == ("error", True)


async def test_one_that_is_away_or_no_gpustack_is_an_error(scripted: Scripted) -> None:
    scripted.says["/version"] = recorded("no_route")
    assert "status 404" in (await found(scripted)).message
    await scripted.refuse()

    finding = await found(scripted)

    assert (finding.status, "GPUSTACK_URL" in finding.message) == ("error", True)


async def test_without_gpustack_there_is_nothing_to_say() -> None:
    assert [each async for each in check._gpustack(settings_for("", ""))] == []
