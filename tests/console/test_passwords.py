"""The fields that passwords are typed into."""

from html.parser import HTMLParser

import pytest

from tests.console.kit import Browser
from tests.kit import Person


class Fields(HTMLParser):
    """The attributes of each field for a password."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and "password" in str(given.get("name")):
            self.found.append(given)


@pytest.mark.parametrize(
    ("path", "purpose"),
    [
        ("/console/sign-in", "current-password"),
        ("/console/confirm", "current-password"),
        ("/console/register", "new-password"),
        ("/console/reset-password?token=x", "new-password"),
    ],
)
async def test_what_is_typed_into_a_password_is_masked_and_may_be_pasted(
    browser: Browser, ada: Person, path: str, purpose: str
) -> None:
    if path == "/console/confirm":
        await browser.sign_in(ada)

    (field,) = Fields((await browser.open(path)).answer.text).found

    assert (field["type"], field["autocomplete"]) == ("password", purpose)
    assert "value" not in field
    assert "readonly" not in field
    assert int(field["maxlength"] or 0) == 1024
