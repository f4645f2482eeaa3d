"""Preferences, which no Struct describes."""

from collections.abc import Mapping
from typing import Any

PREFERENCES = {
    "theme": "dark",
    "language": "en",
    "default_model": "llama-3.3-70b",
    "conversation_history": {"enabled": True, "retention_days": 90},
    "editor.font_size": 14,
}
VALUE = {"text": "dark"}

BODIES: Mapping[str, Mapping[str, Any]] = {
    "merge_preferences": {"theme": {"theme": "dark"}, "own": {"editor.font_size": 14, "sidebar": {"open": True}}},
    "replace_preferences": {"all": PREFERENCES, "none": {}},
    "set_preference": VALUE,
}
ANSWERS: Mapping[tuple[str, int], Mapping[str, Any]] = {
    ("get_preference", 200): VALUE,
    ("get_preferences", 200): {"preferences": PREFERENCES},
    ("merge_preferences", 200): {"preferences": PREFERENCES},
    ("replace_preferences", 200): {"preferences": PREFERENCES},
    ("set_preference", 200): VALUE,
}
