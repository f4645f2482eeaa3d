"""What a browser notices of a page: errors, what a policy has stopped, what was loaded, and from where."""

from dataclasses import dataclass, field

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Page, Request, Response

LISTEN = """
    window.__refused = [];
    document.addEventListener("securitypolicyviolation", found =>
        window.__refused.push(`${found.violatedDirective} ${found.blockedURI} ${found.sourceFile}`));
"""
FAILED = "Failed to load resource"  # the browser's own line about a page of 4xx


@dataclass
class Watch:
    """Listens from before the first byte on."""

    url: str
    page: Page
    wrong: list[str] = field(default_factory=list)
    bytes: int = 0
    _sizes: list[Request] = field(default_factory=list)

    @classmethod
    async def over(cls, context: BrowserContext, url: str) -> "Watch":
        await context.add_init_script(LISTEN)
        watch = cls(url, await context.new_page())
        watch.page.on("console", watch._said)
        watch.page.on("pageerror", lambda error: watch.wrong.append(f"error: {error}"))
        watch.page.on("request", watch._asked)
        watch.page.on("requestfinished", watch._loaded)
        watch.page.on("dialog", watch._dialog)
        return watch

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and FAILED not in message.text:
            self.wrong.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:", "blob:")):
            self.wrong.append(f"asked elsewhere: {request.url}")

    def _loaded(self, request: Request) -> None:
        self._sizes.append(request)

    async def _dialog(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    async def goto(self, address: str) -> Response:
        answer = await self.page.goto(address, wait_until="load")
        assert answer is not None
        return answer

    async def refused(self) -> list[str]:
        """What the policy has stopped."""
        return [f"stopped: {each}" for each in await self.page.evaluate("window.__refused ?? []")]

    async def size(self) -> int:
        """Bytes of all that was loaded, as they were transferred."""
        found = [await request.sizes() for request in self._sizes]
        return sum(each["responseBodySize"] + each["responseHeadersSize"] for each in found)
