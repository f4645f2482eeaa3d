"""What is somebody's own, where the address of a page names it."""

from collections.abc import Iterable
from typing import Protocol, TypeVar
from uuid import UUID

from app.errors import NotFound


class Named(Protocol):
    @property
    def id(self) -> UUID: ...


T = TypeVar("T", bound=Named)


def one_of(own: Iterable[T], its_id: UUID) -> T:
    """The one of this id.

    Raises:
        NotFound: there is none: it is somebody else's, or has gone.
    """
    for each in own:
        if each.id == its_id:
            return each
    raise NotFound
