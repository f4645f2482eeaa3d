"""The routes of the console, and addresses that lead to each."""

import re
from collections.abc import Iterator

from app.edge import Edge

ROOT = "/console"
OPEN_ENDED = {f"{ROOT}/{{path:path}}", f"{ROOT}/static/{{name:str}}"}  # no pages
PARAMETER = re.compile(r"\{(\w+):\w+\}")


def console_routes(edge: Edge, method: str) -> list[str]:
    """The paths that answer this method, with the names of what varies in them."""
    found = [
        route.path
        for route in edge.app.state.pages.app.routes
        for handler in getattr(route, "route_handlers", ())
        if method in handler.http_methods
    ]
    return sorted(set(found) - OPEN_ENDED)


def names_in(path: str) -> Iterator[str]:
    """What varies in a path."""
    return (found[1] for found in PARAMETER.finditer(path))


def filled(path: str, **values: object) -> str:
    """An address of this route; a KeyError names what nobody has said a value for."""
    return PARAMETER.sub(lambda found: str(values[found[1]]), path)
