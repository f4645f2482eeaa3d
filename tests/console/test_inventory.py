"""Every page is listed where a browser finds those that it walks through (tests/browser/console_pages.py)."""

from app.edge import Edge
from tests.browser.console_pages import NO_PAGES, PAGES


async def test_every_page_is_in_the_inventory_and_all_in_it_are_there(edge: Edge) -> None:
    routes = {
        route.path
        for route in edge.app.state.pages.app.routes
        for handler in getattr(route, "route_handlers", ())
        if "GET" in handler.http_methods
    }

    assert routes == {page.path for page in PAGES} | set(NO_PAGES), "add what is missing to PAGES, it is a line"


def test_no_two_pictures_have_one_name() -> None:
    names = [page.name for page in PAGES]

    assert len(set(names)) == len(names)
    assert len([page for page in PAGES if page.readme]) <= 6
