"""A browser that sends one form of several, and does not go on by itself."""

from typing import Any, Self, cast
from urllib.parse import urlencode

from httpx import ASGITransport, AsyncClient

from app.edge import Edge
from app.parts import Parts
from tests.conftest import ADMIN
from tests.console import kit
from tests.console.kit import ORIGIN, Form
from tests.identity.kit import new_role, person
from tests.kit import Person, SignedIn, new_ip

ADMINISTRATION = "/console/admin"


class Page(kit.Page):
    @property
    def html(self) -> str:
        return self.answer.text

    def form(self, action: str = "", **fields: str) -> Form:
        """The form that is sent there, and has these fields filled in so."""
        found = [
            form
            for form in self.forms
            if form.action == action and all(form.fields.get(name) == value for name, value in fields.items())
        ]
        assert len(found) == 1, (action, [each.action for each in self.forms])
        return found[0]

    def has_form(self, action: str) -> bool:
        return any(form.action == action for form in self.forms)

    @property
    def wrong(self) -> str:
        """What is said beside fields."""
        return " ".join(self.errors.values())


class Browser:
    def __init__(self, edge: Edge) -> None:
        transport = ASGITransport(cast("Any", edge), client=("127.0.0.1", 1))
        self.client = AsyncClient(transport=transport, base_url=ORIGIN, headers={"X-Forwarded-For": new_ip()})

    async def get(self, path: str, **query: str) -> Page:
        return Page(await self.client.get(f"{path}?{urlencode(query)}" if query else path))

    async def send(self, form: Form, **fields: str | None) -> Page:
        """The form with these fields filled in as well; None leaves one out. Not followed."""
        said = {name: value for name, value in {**form.fields, **fields}.items() if value is not None}
        if form.method == "get":
            return await self.get(form.action, **said)
        return Page(await self.client.post(form.action, data=said))

    async def follow(self, page: Page) -> Page:
        """On to where a form has led."""
        assert page.status == 303, page.text
        return await self.get(page.answer.headers["location"])

    async def do(self, form: Form, **fields: str | None) -> Page:
        """The form, and the page that it leads to."""
        return await self.follow(await self.send(form, **fields))

    async def sign_in(self, who: Person) -> Self:
        form = (await self.get("/console/sign-in")).form("/console/sign-in")
        done = await self.send(form, username=who.username, password=who.password)
        assert done.status == 303, done.text
        return self

    async def token(self) -> str:
        """Of the forms of this browser and this session."""
        return (await self.get("/console/account")).form("/console/account").fields["csrf_token"]


async def as_admin(edge: Edge) -> Browser:
    return await Browser(edge).sign_in(ADMIN)


async def holding(edge: Edge, parts: Parts, admin: SignedIn, *permissions: str) -> Browser:
    """Somebody who may do this, and is signed in."""
    roles = [await new_role(parts, *permissions)] if permissions else []
    return await Browser(edge).sign_in(await person(admin, roles=roles))
