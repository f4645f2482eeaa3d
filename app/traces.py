"""How those parts are made that can show in a trace what they do: as they stand, none of them does."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from app.cache.batch import Batch
from app.cache.server import Link
from app.database import Watch
from app.edge import Edge
from app.outbound import Outbound


async def _nothing() -> None:
    pass


class Traces(Struct, frozen=True):
    """What `app.tracing` puts others in the place of, where OTEL_EXPORTER_OTLP_ENDPOINT says whither."""

    edge: Callable[..., Edge] = Edge
    link: Callable[[Link], Link] = lambda link: link
    batch: Callable[..., Batch[Any, Any]] = Batch
    outbound: Callable[..., Outbound] = Outbound
    statements: Watch | None = None
    stop: Callable[[], Awaitable[None]] = _nothing
