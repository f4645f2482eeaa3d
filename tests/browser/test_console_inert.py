"""Nothing that somebody has written runs in a page, whoever looks at it: every field is full of what would."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from app.settings import Settings
from tests.browser.console_pages import ADMIN, GUARDED, NOBODY, PAGES, USER
from tests.browser.hostile import PRODUCT, TEXTS, hostile
from tests.browser.scene import Scene, served
from tests.browser.test_console_pages import NARROW, too_wide
from tests.browser.watch import Watch
from tests.conftest import Apart
from tests.kit import until

# what markup of somebody would have made of a page; of ours nothing looks like it
MADE = "script:not([src]), svg[onload], img[onerror], [onfocus], [onpointerenter], [style], a[href^='javascript']"


@pytest.fixture(scope="module")
async def scene(apart: Apart, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with served(
        apart("hostile"), tmp_path_factory.mktemp("hostile"), label='"><svg onload=alert(1)> {{31337*31337}}'
    ) as scene:
        yield scene


@pytest.fixture(scope="module")
async def scenes(scene: Scene) -> dict[str, Scene]:
    return await hostile(scene)


async def walk(scene: Scene, chrome: Browser, who: str) -> str:
    """Every page that he sees, narrow; what was read there."""
    seen = []
    async with await scene.enter(chrome, who, viewport=NARROW) as context:
        watch = await Watch.over(context, scene.url)
        for listed in PAGES:
            if who not in listed.who:
                continue
            await scene.show(watch.page, listed)
            page = watch.page
            await page.mouse.move(180, 300)

            where = f"{listed} as {who}"
            assert await page.evaluate("window.__xss") is None, where
            assert watch.wrong + await watch.refused() == [], where
            assert await page.locator(MADE).count() == 0, where
            assert await too_wide(page) == [], where
            text = await page.inner_text("body")
            values = await page.eval_on_selector_all("input", "all => all.map(each => each.value)")
            seen.append("\n".join([text, *values]))
            assert PRODUCT not in text, where
    return "\n".join(seen)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("who", [USER, GUARDED, ADMIN])
async def test_nothing_runs_for_who_is_inside(scenes: dict[str, Scene], chrome: Browser, kind: str, who: str) -> None:
    seen = await walk(scenes[kind], chrome, who)

    if who == USER:
        assert TEXTS[kind][0] in seen, "it is shown as it was written"


async def test_nothing_runs_before_the_door(scenes: dict[str, Scene], chrome: Browser) -> None:
    for scene in scenes.values():
        await walk(scene, chrome, NOBODY)


async def test_the_net_would_catch_what_runs(scene: Scene, chrome: Browser) -> None:
    """A page that took a name for HTML, and one without its policy."""
    async with await scene.enter(chrome, NOBODY) as context:
        watch = await Watch.over(context, scene.url)
        await watch.goto(f"{scene.url}/console/sign-in")
        await watch.page.evaluate(
            "text => document.querySelector('main').insertAdjacentHTML('beforeend', text)", TEXTS["tags"][2]
        )
        await until(watch.refused)

        assert await watch.page.locator(MADE).count() == 1
        assert any("script-src" in each for each in await watch.refused())
