"""Every page of the console, in a real browser, as everybody who sees it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from app.settings import Settings
from tests.browser.console_pages import ADMIN, INSIDE, NOBODY, PAGES, USER, Listed
from tests.browser.scene import AXE, Scene, pleasant, served, texts
from tests.browser.watch import Watch
from tests.conftest import Apart

MOST_BYTES = 150_000  # of a first visit, as transferred
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 2560, "height": 1300}
USUAL = {"width": 1280, "height": 800}
EACH = [pytest.param(page, who, id=f"{page}-{who}") for page in PAGES for who in page.who]

# What can be reached by Tab, but for the radio buttons of a group, which are one; each is given a number.
REACHABLE = """
    () => {
        const groups = new Set();
        const found = [...document.querySelectorAll(
            "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")];
        return found.filter(each => {
            if (each.disabled || each.tabIndex < 0 || !each.checkVisibility({visibilityProperty: true})) return false;
            if (each.type === "radio") {
                if (groups.has(each.name)) return false;
                groups.add(each.name);
            }
            return true;
        }).map((each, number) => {
            each.dataset.reach = each.type === "radio" ? `radio ${each.name}` : number;
            if (each.type === "radio")
                for (const other of document.getElementsByName(each.name)) other.dataset.reach = each.dataset.reach;
            return [each.dataset.reach, each.outerHTML.slice(0, 120)];
        });
    }
"""
FOCUSED = """
    () => {
        const one = document.activeElement;
        const style = getComputedStyle(one);
        const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
        const seen = outlined || style.boxShadow !== "none";
        const box = one.getBoundingClientRect();
        return {reach: one.dataset.reach ?? null, seen, there: box.width > 1 && box.height > 1};
    }
"""
PARTS_OF_A_TIME = 6  # where Tab stops in the field of one, before it goes on
AXE_RUN = "axe.run(document, {resultTypes: ['violations'], preload: false})"


@pytest.fixture(scope="module")
async def scene(apart: Apart, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    own = apart("console")
    async with served(own, tmp_path_factory.mktemp("console")) as scene:
        await pleasant(scene, own.database_url)
        yield scene


@pytest.mark.parametrize(("listed", "who"), EACH)
async def test_it_is_whole_and_strict_and_small(scene: Scene, chrome: Browser, listed: Listed, who: str) -> None:
    async with await scene.enter(chrome, who, viewport=USUAL) as context:
        watch = await Watch.over(context, scene.url)

        answer = await scene.show(watch.page, listed)

        assert answer.status == listed.status, await watch.page.inner_text("body")
        assert listed.steps or answer.url == scene.address(listed)
        assert listed.has in await watch.page.inner_text("main")
        assert (await watch.page.title()).endswith(" · Gatehouse")
        assert await watch.page.locator("h1").count() == 1
        assert watch.wrong + await watch.refused() == []
        assert 1000 < await watch.size() < MOST_BYTES
        times = await watch.page.eval_on_selector_all("time", "all => all.map(each => each.textContent)")
        assert not [each for each in times if "UTC" in each], "the script has put them into the reader's zone"


@pytest.mark.parametrize(("listed", "who"), EACH)
async def test_it_is_there_without_scripts(scene: Scene, chrome: Browser, listed: Listed, who: str) -> None:
    async with await scene.enter(chrome, who, java_script_enabled=False, viewport=USUAL) as context:
        page = await context.new_page()

        answer = await scene.show(page, listed)

        assert answer.status == listed.status
        assert listed.has in await page.inner_text("main")


@pytest.mark.parametrize(("listed", "who"), EACH)
async def test_axe_finds_nothing_serious_in_either_look(
    scene: Scene, chrome: Browser, listed: Listed, who: str
) -> None:
    async with await scene.enter(chrome, who, viewport=USUAL) as context:
        page = await context.new_page()
        for look in ("light", "dark"):
            await page.emulate_media(color_scheme=look, reduced_motion="reduce")
            await scene.show(page, listed)
            await page.evaluate(AXE.read_text())

            found = texts(await page.evaluate(AXE_RUN))

            assert found == [], look


@pytest.mark.parametrize(("listed", "who"), EACH)
async def test_it_fits_narrow_and_wide_screens(scene: Scene, chrome: Browser, listed: Listed, who: str) -> None:
    async with await scene.enter(chrome, who) as context:
        page = await context.new_page()
        for size in (NARROW, WIDE):
            await page.set_viewport_size(size)
            await scene.show(page, listed)

            assert await too_wide(page) == [], size


async def too_wide(page: Page) -> list[str]:
    """What makes a page scroll sideways."""
    found: list[str] = await page.evaluate("""
        () => document.documentElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll("body *")].filter(each => each.getBoundingClientRect().right > innerWidth + 1
                && !each.closest(".table-responsive, details:not([open])")).map(each => each.outerHTML.slice(0, 150))
    """)
    return found


@pytest.mark.parametrize(("listed", "who"), EACH)
async def test_a_keyboard_reaches_everything_and_shows_where_it_is(
    scene: Scene, chrome: Browser, listed: Listed, who: str
) -> None:
    async with await scene.enter(chrome, who, viewport=USUAL) as context:
        page = await context.new_page()
        await scene.show(page, listed)
        await page.evaluate("document.activeElement.blur()")
        reachable: dict[str, str] = dict(await page.evaluate(REACHABLE))
        reached: set[str | None] = set()
        seen: set[str | None] = set()  # a field of a time has parts, of which the browser marks the last one itself

        stops = len(reachable) + PARTS_OF_A_TIME * await page.locator("[type=datetime-local]").count()
        for _ in range(2 * stops):  # it begins anew after the last
            await page.keyboard.press("Tab")
            at: dict[str, Any] = await page.evaluate(FOCUSED)
            reached.add(at["reach"])
            if at["seen"] and at["there"]:
                seen.add(at["reach"])
            if reached >= reachable.keys():
                break

        assert [text for reach, text in reachable.items() if reach not in reached] == []
        assert [text for reach, text in reachable.items() if reach not in seen] == []


async def test_the_first_tab_leads_past_the_menu(scene: Scene, chrome: Browser) -> None:
    async with await scene.enter(chrome, USER, viewport=USUAL) as context:
        page = await context.new_page()
        await page.goto(f"{scene.url}/console/account")

        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
        await page.keyboard.press("Enter")

        assert page.url.endswith("#main")


async def test_the_look_that_was_chosen_counts_more_than_the_systems(scene: Scene, chrome: Browser) -> None:
    async def ground(page: Page) -> str:
        found: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        return found

    async with await scene.enter(chrome, ADMIN, viewport=USUAL) as context:
        page = await context.new_page()
        seen = {}
        for look in ("light", "dark"):
            await page.emulate_media(color_scheme=look)
            await page.goto(f"{scene.url}/console/account")
            seen[look] = await ground(page)
        assert seen["light"] != seen["dark"]
        await page.evaluate("document.documentElement.dataset.bsTheme = 'light'")
        assert await ground(page) == seen["light"]
        assert await page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
        await page.emulate_media(color_scheme="light")
        await page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
        assert await ground(page) == seen["dark"]
        assert await page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


@pytest.mark.parametrize("who", [NOBODY, *INSIDE])
async def test_nobody_sees_a_way_that_leads_nowhere(scene: Scene, chrome: Browser, who: str) -> None:
    """Each link of each page that he sees."""
    async with await scene.enter(chrome, who, viewport=USUAL) as context:
        page = await context.new_page()
        found: dict[str, str] = {}
        for listed in PAGES:
            if who in listed.who:
                await scene.show(page, listed)
                links = await page.eval_on_selector_all(
                    "a[href]:not([href^='#'], [download])", "all => all.map(each => each.href)"
                )
                found |= dict.fromkeys(links, listed.name)

        wrong = {}
        for link, name in found.items():
            assert link.startswith(f"{scene.url}/"), f"{name} leads to {link}"
            answer = await context.request.get(link, max_redirects=0)
            away = answer.status == 503 and link.endswith("/example")  # a provider that nobody is
            if answer.status not in {200, 302, 303} and not away:
                wrong[link] = f"{answer.status}, from {name}"
        assert wrong == {}
