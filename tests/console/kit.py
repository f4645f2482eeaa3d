"""A browser without scripts: it keeps cookies, reads pages, and sends their forms."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, cast
from urllib.parse import urlsplit

from httpx import ASGITransport, AsyncClient, Response

from app.edge import Edge
from tests.kit import Person, from_ip, new_ip

ORIGIN = "https://auth.example.test"
SIGN_IN, ACCOUNT = "/console/sign-in", "/console/account"
ACCESS, REFRESH, FORM = (f"__Host-gatehouse-console{suffix}" for suffix in ("", "-refresh", "-form"))
MOST_HOPS = 5
VOID = {"input", "meta", "link", "br", "use", "path", "hr"}


@dataclass
class Form:
    """As the page has it; `fields` are what is sent unless somebody types."""

    action: str
    method: str
    data: dict[str, str]
    fields: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # all that can be filled in, also what is not ticked


class Page(HTMLParser):
    """An answer, as somebody reads it."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer
        self.status = answer.status_code
        self.path = answer.request.url.path
        self.title = ""
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}  # by what they say
        self.addresses: list[str] = []  # of all links
        self.alerts: list[str] = []
        self.errors: dict[str, str] = {}  # beside their fields
        self._inside: list[tuple[str, dict[str, str]]] = []
        self._said: list[str] = []
        self.feed(answer.text)
        self.text = " ".join(" ".join(self._said).split())

    def form(self, action: str) -> Form:
        found = [form for form in self.forms if form.action == action]
        assert found, (self.status, self.path, [form.action for form in self.forms], self.alerts)
        return found[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.addresses.append(given.get("href", ""))
        if tag in ("input", "select", "textarea") and self._is_in("form"):
            self.forms[-1].names |= {given["name"]} if "name" in given else set()
        if tag == "select" and self._is_in("form"):
            self.forms[-1].fields[given["name"]] = ""
        elif tag == "form":
            data = {name: value for name, value in given.items() if name.startswith("data-")}
            self.forms.append(Form(given.get("action", ""), given.get("method", "get"), data))
        elif tag == "input" and "name" in given and self.forms and self._is_in("form"):
            is_box = given.get("type") in ("checkbox", "radio")
            if not is_box or "checked" in given:
                self.forms[-1].fields[given["name"]] = given.get("value", "on" if is_box else "")
        elif tag == "option" and "selected" in given:
            self.forms[-1].fields[self._attributes("select")["name"]] = given.get("value", "")
        if tag not in VOID:
            self._inside.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        if self._is_in(tag):
            while self._inside.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        said = " ".join(data.split())
        if not said or self._is_in("script") or self._is_in("style"):
            return
        if self._is_in("title"):
            self.title = self.title or said  # the page's own; pictures have some as well
            return
        self._said.append(said)
        if self._is_in("textarea"):
            self.forms[-1].fields[self._attributes("textarea")["name"]] = data
        for tag, given in reversed(self._inside):
            if tag == "a":
                self.links.setdefault(said, given.get("href", ""))
            elif given.get("role") in ("alert", "status") and "alert" in given.get("class", ""):
                self.alerts.append(said)
            elif given.get("id", "").endswith("-wrong"):
                self.errors[given["id"].removesuffix("-wrong")] = said

    def _is_in(self, tag: str) -> bool:
        return any(each == tag for each, _ in self._inside)

    def _attributes(self, tag: str) -> dict[str, str]:
        return next(given for each, given in reversed(self._inside) if each == tag)


class Browser:
    """Somebody's, at an address of the network of his own."""

    def __init__(self, edge: Edge, ip: str | None = None) -> None:
        transport = ASGITransport(cast("Any", edge), client=("127.0.0.1", 1))
        self.http = AsyncClient(transport=transport, base_url=ORIGIN, headers=from_ip(ip or new_ip()))

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.name: cookie.value or "" for cookie in self.http.cookies.jar}

    async def get(self, path: str, **headers: str) -> Response:
        """The answer alone, wherever it leads."""
        return await self.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Response:
        """What a page sends, and where to is not looked at."""
        sent = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, data=fields, headers=sent)

    async def open(self, path: str) -> Page:
        """The page to which this address leads."""
        return Page(await self._followed(await self.get(path)))

    async def send(self, page: Page, action: str, **typed: str) -> Page:
        """The page that comes of this form, with this typed into its fields."""
        form = page.form(action)
        assert form.method == "post"
        assert set(typed) <= set(form.fields), (sorted(typed), sorted(form.fields))
        return Page(await self._followed(await self.post(action, form.fields | typed)))

    async def sign_in(self, person: Person, onwards: str = "") -> Page:
        page = await self.open(f"{SIGN_IN}?next={onwards}" if onwards else SIGN_IN)
        return await self.send(page, SIGN_IN, username=person.username, password=person.password)

    async def signed_in_as(self) -> str | None:
        """Whose account the console shows; None at the sign-in."""
        page = await self.open(ACCOUNT)
        if page.path == SIGN_IN:
            return None
        assert page.status == 200, page.text
        return page.text.partition("Username ")[2].partition(" ")[0]

    async def _followed(self, answer: Response) -> Response:
        for _ in range(MOST_HOPS):
            if answer.status_code != 303:
                return answer
            location = answer.headers["location"]
            assert not urlsplit(location).netloc, location
            answer = await self.get(location)
        raise AssertionError("it leads in circles")
