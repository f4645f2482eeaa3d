"""`make screenshots`: the pages as the README and the documentation show them, in docs/images."""

import io
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Browser

from app.settings import Settings
from tests.browser.conftest import launched
from tests.browser.console_pages import ADMIN, GUARDED, NOBODY, PAGES, USER
from tests.browser.scene import Scene, pleasant, served
from tests.conftest import Apart

IMAGES = Path(__file__).parents[2] / "docs/images"
SIZES = {"light": (1280, 800), "dark": (1280, 800), "narrow": (390, 844)}


async def test_pictures(apart: Apart, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each page as somebody sees it who has no more rights than it needs."""
    IMAGES.mkdir(exist_ok=True)
    own = apart("pictures")
    async with served(own, tmp_path_factory.mktemp("pictures")) as scene, launched() as chrome:
        await pleasant(scene, own.database_url)
        for look, (width, height) in SIZES.items():
            await _take(scene, chrome, look, width, height)


async def _take(scene: Scene, chrome: Browser, look: str, width: int, height: int) -> None:
    for who in (NOBODY, USER, GUARDED, ADMIN):
        scheme = "dark" if look == "dark" else "light"
        options = {
            "viewport": {"width": width, "height": height},
            "color_scheme": scheme,
            "timezone_id": "Europe/London",
        }
        async with await scene.enter(chrome, who, locale="en-GB", reduced_motion="reduce", **options) as context:
            page = await context.new_page()
            for listed in PAGES:
                if who == (GUARDED if listed.name == "factors" else listed.who[0]):
                    await scene.show(page, listed)
                    picture = await page.screenshot(animations="disabled", caret="hide")
                    _keep(picture, IMAGES / f"{listed}-{look}.png")


def _keep(picture: bytes, path: Path) -> None:
    """In 256 colours, which are as many as a page has: a third of the bytes."""
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)
