"""A browser that shows every answer, also one that leads on; its headers are what these tests look at."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from httpx import ASGITransport, AsyncClient, Cookies, Response

from app.edge import Edge
from tests.console.kit import ACCESS, ORIGIN, SIGN_IN, Form, Page
from tests.kit import Person, new_ip

SAME_SITE = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}


def forms_of(page: Response) -> list[Form]:
    return Page(page).forms


def title_of(page: Response) -> str:
    return Page(page).title


def form_of(page: Response, action: str) -> Form:
    """The form of a page that is sent there."""
    return Page(page).form(action)


class Visitor:
    """Somebody with a browser of his own, and the address that he comes from."""

    def __init__(self, edge: Edge, origin: str = ORIGIN) -> None:
        transport = ASGITransport(cast("Any", edge), client=("127.0.0.1", 1))
        self.http = AsyncClient(transport=transport, base_url=origin, headers={"X-Forwarded-For": new_ip()})

    @property
    def cookies(self) -> Cookies:
        return self.http.cookies

    def at(self, edge: Edge) -> "Visitor":
        """The same browser, answered by another replica."""
        other = Visitor(edge)
        other.http.cookies = self.http.cookies
        other.http.headers = self.http.headers
        return other

    async def get(self, path: str, **kwargs: Any) -> Response:
        return await self.http.get(path, **kwargs)

    async def open(self, path: str, **kwargs: Any) -> Response:
        """The page that this address leads to in the end."""
        return await self.http.get(path, follow_redirects=True, **kwargs)

    async def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] = SAME_SITE) -> Response:
        return await self.http.post(path, data=dict(fields), headers=dict(headers))

    async def send(self, page: Response, action: str, **typed: str) -> Response:
        """The answer to the form of this page, with what somebody typed."""
        return await self.post(action, {**form_of(page, action).fields, **typed})

    async def sign_in(self, person: Person, path: str = SIGN_IN) -> Response:
        answer = await self.send(await self.get(path), SIGN_IN, username=person.username, password=person.password)
        assert answer.status_code == 303, answer.text
        return answer

    def forget_access(self) -> None:
        """As after the minutes that an access token is good for."""
        self.cookies.delete(ACCESS)


def set_cookies(answer: Response) -> Iterator[tuple[str, str, set[str]]]:
    """Name, value and attributes of each cookie that an answer sets, in order."""
    for line in answer.headers.get_list("set-cookie"):
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        yield name, value.strip('"'), set(attributes)


def gone(answer: Response) -> set[str]:
    """The cookies that the browser has no more after this answer."""
    last = {name: value for name, value, _ in set_cookies(answer)}
    return {name for name, value in last.items() if not value}
