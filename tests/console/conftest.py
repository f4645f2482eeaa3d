"""Somebody at the console."""

from collections.abc import AsyncIterator, Callable

import pytest

from app.edge import Edge
from tests.console.kit import Browser
from tests.console.visitor import Visitor
from tests.kit import Person


@pytest.fixture
async def visitor(edge: Edge) -> AsyncIterator[Visitor]:
    """Nobody knows him yet."""
    visitor = Visitor(edge)
    async with visitor.http:
        yield visitor


@pytest.fixture
async def inside(visitor: Visitor, ada: Person) -> Visitor:
    """Ada has signed in."""
    await visitor.sign_in(ada)
    return visitor


@pytest.fixture
def new_browser(edge: Edge) -> Callable[[], Browser]:
    return lambda: Browser(edge)


@pytest.fixture
def browser(new_browser: Callable[[], Browser]) -> Browser:
    return new_browser()
