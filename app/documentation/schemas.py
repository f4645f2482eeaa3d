"""JSON Schema of what routes take and answer, by msgspec: the same rules that a body is checked by."""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

REFERENCE = "#/components/schemas/{name}"


class FieldError(Struct, frozen=True):
    field: str
    message: Annotated[str, Meta(description="What the field should be; never what it was.")]


class Problem(Struct, frozen=True, kw_only=True):
    """Every error (RFC 9457). Clients switch on `code`, which never changes; `title` and `detail` are for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: Annotated[str, Meta(description="As in the header `X-Request-ID`; the logs know it.")]
    errors: Annotated[list[FieldError], Meta(description="The fields that are out of their bounds.")] | UnsetType = (
        UNSET
    )
    error: Annotated[str, Meta(description="RFC 6749 §5.2; where OAuth clients ask for themselves.")] | UnsetType = (
        UNSET
    )


class Schemas:
    """Schemas are asked for one by one and made together at the end, so that no two types share a name."""

    def __init__(self) -> None:
        self._asked: list[tuple[Any, dict[str, Any]]] = []

    def put(self, kind: Any, holder: dict[str, Any]) -> None:  # noqa: ANN401 - any type
        """Let `holder` (a media type, a parameter) have the schema of this type."""
        holder["schema"] = {}
        try:
            msgspec.json.schema(kind)
        except TypeError:
            if get_origin(kind) in (Union, UnionType):  # of Structs that msgspec cannot tell apart: a route does
                parts: list[dict[str, Any]] = [{} for _ in get_args(kind)]
                for each, part in zip(get_args(kind), parts, strict=True):
                    self.put(each, part)
                holder["schema"]["anyOf"] = [part["schema"] for part in parts]
                return
            kind = Any  # a type of an application's own route, that msgspec does not know
        self._asked.append((kind, holder))

    def components(self) -> dict[str, Any]:
        """Fill every holder; the named schemas that they refer to."""
        schemas, components = msgspec.json.schema_components([kind for kind, _ in self._asked], ref_template=REFERENCE)
        for (_, holder), schema in zip(self._asked, schemas, strict=True):
            if "in" in holder and "description" in schema:  # of a parameter, where tools look for it
                holder["description"] = schema.pop("description")
            holder["schema"] |= schema
        return dict(sorted(components.items()))


def given(kind: Any) -> Any:  # noqa: ANN401 - any type
    """The type of a parameter that is there: without None, for a query has no null; what is said of it stays."""
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        return Annotated[(given(inner), *metadata)]
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(each for each in get_args(kind) if each is not type(None))]  # noqa: UP007 - made here
    return kind
