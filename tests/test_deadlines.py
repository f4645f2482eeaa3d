"""Deadlines that share a timer behave as `asyncio.timeout` does."""

import asyncio
from typing import cast

import pytest

from app.deadlines import Deadlines


@pytest.fixture
def deadlines() -> Deadlines:
    return Deadlines(0.001)


async def test_what_takes_too_long_ends_with_an_error(deadlines: Deadlines) -> None:
    with pytest.raises(TimeoutError), deadlines.within(0.002):
        await asyncio.Event().wait()


async def test_each_has_a_deadline_of_its_own(deadlines: Deadlines) -> None:
    ended: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        with pytest.raises(TimeoutError), deadlines.within(seconds):
            await asyncio.Event().wait()
        ended.append(name)

    await asyncio.gather(wait("long", 0.05), wait("short", 0.002))

    assert ended == ["short", "long"]


async def test_what_is_done_in_time_is_left_alone(deadlines: Deadlines) -> None:
    with deadlines.within(0.002):
        pass
    with pytest.raises(TimeoutError), deadlines.within(0.01):  # the first one's time passes meanwhile
        await asyncio.Event().wait()

    assert cast("asyncio.Task[None]", asyncio.current_task()).cancelling() == 0


async def test_of_two_around_each_other_the_inner_may_end_alone(deadlines: Deadlines) -> None:
    with deadlines.within(60), pytest.raises(TimeoutError), deadlines.within(0.002):
        await asyncio.Event().wait()


async def test_of_two_around_each_other_the_outer_passes_through_the_inner(deadlines: Deadlines) -> None:
    async def wait() -> None:
        with deadlines.within(0.002):
            with pytest.raises(asyncio.CancelledError) as passing, deadlines.within(60):
                await asyncio.Event().wait()
            raise passing.value

    with pytest.raises(TimeoutError):
        await wait()


async def test_a_cancellation_by_somebody_else_stays_one(deadlines: Deadlines) -> None:
    entered = asyncio.Event()

    async def wait() -> None:
        with deadlines.within(60):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await entered.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_by_somebody_else_wins_over_a_deadline_that_passes_as_well(deadlines: Deadlines) -> None:
    async def wait() -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        with deadlines.within(0.002):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # of the deadline
                task.cancel()
                raise

    task = asyncio.create_task(wait())

    with pytest.raises(asyncio.CancelledError):
        await task
