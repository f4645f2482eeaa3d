"""What one likes: the look, the language, and what applications keep of conversations."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.status_codes import HTTP_200_OK

from app.console.account import ACCOUNT
from app.console.forms import Form
from app.console.languages import mark
from app.console.visit import Visit
from app.errors import AppError, ValidationFailed
from app.preferences.service import Preferences
from app.preferences.structs import ConversationHistory
from app.problems import convert
from app.sessions.caller import Caller

PREFERENCES = f"{ACCOUNT}/preferences"
PAGE = "account/preferences.html"
SHOWN = ("theme", "language", "default_model", "conversation_history")
RETENTION_DAYS = 30  # that the form offers who has chosen nothing
DIGITS = 6  # of a number that is read at all: more than any number of days that may be
# To choose from, each by its own name; any other tag that an application has kept stays to be chosen.
LANGUAGES: Mapping[str, str] = {
    "ar": "العربية",
    "cs": "Čeština",
    "da": "Dansk",
    "de": "Deutsch",
    "el": "Ελληνικά",
    "en": "English",
    "es": "Español",
    "fi": "Suomi",
    "fr": "Français",
    "he": "עברית",
    "hi": "हिन्दी",
    "hu": "Magyar",
    "id": "Bahasa Indonesia",
    "it": "Italiano",
    "ja": "日本語",
    "ko": "한국어",
    "nb": "Norsk bokmål",
    "nl": "Nederlands",
    "pl": "Polski",
    "pt": "Português",
    "ro": "Română",
    "ru": "Русский",
    "sv": "Svenska",
    "th": "ไทย",
    "tr": "Türkçe",
    "uk": "Українська",
    "vi": "Tiếng Việt",
    "zh-Hans": "简体中文",
    "zh-Hant": "繁體中文",
}


class PreferencePages(Controller):
    path = "/account/preferences"

    @get()
    async def preferences(
        self, visit: NamedDependency[Visit], caller: Caller, preferences: NamedDependency[Preferences]
    ) -> Response[bytes]:
        return visit.page(PAGE, **await _known(preferences, caller))

    @post(status_code=HTTP_200_OK)
    async def save(
        self,
        visit: NamedDependency[Visit],
        form: NamedDependency[Form],
        caller: Caller,
        preferences: NamedDependency[Preferences],
    ) -> Response[bytes]:
        """The four of this form; whatever else an application has kept stays as it is."""
        was = await preferences.some_of(caller.user_id, SHOWN)
        try:
            chosen = {**form.as_sent("theme", "language", "default_model"), "conversation_history": _history(form)}
            # what was never chosen, and is not now, stays unsaid
            said = {key: value for key, value in chosen.items() if value is not None or key in was}
            await preferences.merge(
                caller.user_id, {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in said.items()}
            )
        except AppError as refused:
            return visit.again(PAGE, refused, form, **await _known(preferences, caller))
        return visit.go(PREFERENCES, "preferences-saved")


async def _known(preferences: Preferences, caller: Caller) -> dict[str, Any]:
    """What the page shows; the form says `on` and `off` of the history, and nothing where nothing was chosen."""
    chosen = await preferences.some_of(caller.user_id, SHOWN)
    history = chosen.get("conversation_history")
    language = chosen.get("language")
    languages = LANGUAGES if language is None else {language: language, **LANGUAGES}
    return {
        "theme": chosen.get("theme") or "",
        "chosen_language": language or "",
        "languages": languages,
        "default_model": chosen.get("default_model") or "",
        "history": "" if history is None else ("on" if history["enabled"] else "off"),
        "retention_days": RETENTION_DAYS if history is None else history["retention_days"],
    }


def _history(form: Form) -> ConversationHistory | None:
    """Raises ValidationFailed: it is to be kept for a time that is none."""
    chosen = form.get("history", "")
    if chosen not in ("on", "off"):
        return None
    days = form.get("retention_days", "").strip()
    if not (days.isascii() and days.isdecimal() and len(days) <= DIGITS):
        raise ValidationFailed(("retention_days", mark("This has to be a number of days.")))
    try:
        return convert({"enabled": chosen == "on", "retention_days": int(days)}, ConversationHistory)
    except ValidationFailed:
        raise ValidationFailed(("retention_days", mark("This has to be 1 to 3650 days."))) from None
