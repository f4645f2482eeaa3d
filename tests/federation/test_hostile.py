"""A provider that lies, or is somebody else: nobody gets in, nothing is kept, and nobody is asked who must not be."""

import pytest
from httpx import Response

from app.main import Parts
from tests.federation.forgeries import CLAIMS, SIGNATURES, Lie
from tests.federation.kit import HTML, Browser, traces
from tests.federation.provider import CLIENT_SECRET, OpenIdProvider
from tests.kit import problem

POLICY = {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"}


def page(answer: Response, status: int, code: str) -> str:
    """The page that this answer has to be: it shows the code, and nothing in it can run."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    said = {part.strip() for part in answer.headers["content-security-policy"].split(";")}
    assert said >= POLICY
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert code in answer.text
    return answer.text


async def refused(browser: Browser, op: OpenIdProvider, person: str, status: int, code: str) -> None:
    """As a problem for a program and as a page for a person; the state is used up, and the browser's cookie is gone."""
    for accept in ("application/json", HTML):
        browser.accept = accept
        flow = await browser.start(op)
        back = await browser.at_provider(flow, person)
        answer = await browser.get(back)
        if accept == HTML:
            page(answer, status, code)
        else:
            problem(answer, status, code)
        assert "location" not in answer.headers
        assert browser.cookies == {}
        assert CLIENT_SECRET not in answer.text


@pytest.mark.parametrize("lie", [*SIGNATURES.values(), *CLAIMS.values()], ids=[*SIGNATURES, *CLAIMS])
async def test_an_id_token_that_is_wrong_in_one_thing_signs_nobody_in(
    browser: Browser, op: OpenIdProvider, parts: Parts, lie: Lie
) -> None:
    before = await traces(parts)
    ada = op.register(email="ada@example.org", email_verified=True)
    lie(op)

    await refused(browser, op, ada, 401, "identity_not_accepted")

    assert await traces(parts) == before
