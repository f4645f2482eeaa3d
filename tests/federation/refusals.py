"""What a refused sign-in looks like: alike for every reason, and nothing is left of it in the browser."""

from httpx import Response

from tests.federation.kit import HTML, AnyProvider, Browser
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


async def refused(browser: Browser, op: AnyProvider, person: str, status: int, code: str) -> None:
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


async def unavailable(browser: Browser, op: OpenIdProvider, person: str, endpoint: str) -> None:
    """At the first step, where the provider does not say where to; else when the browser comes back."""
    if endpoint != "discovery":
        await refused(browser, op, person, 503, "unavailable")
        return
    for accept in ("application/json", HTML):
        browser.accept = accept
        answer, _ = await browser.begin(op)
        if accept == HTML:
            page(answer, 503, "unavailable")
        else:
            problem(answer, 503, "unavailable")
        assert "location" not in answer.headers
        assert browser.cookies == {}
