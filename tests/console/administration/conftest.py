"""Browsers of who administers."""

import pytest

from app.edge import Edge
from tests.console.administration.kit import Browser, as_admin


@pytest.fixture
async def root(edge: Edge) -> Browser:
    """An administrator's."""
    return await as_admin(edge)
