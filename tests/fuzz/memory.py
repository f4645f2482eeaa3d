"""What answers have named, for later requests to name again: who only guesses meets nothing but 404 and 401."""

import random
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from pyotp import TOTP

from tests.fuzz.house import Guest, House
from tests.kit import new_name, new_password

KEPT = 40  # values of a name; what has ended meanwhile drops out
PAGES = {"email/verify": "verify-email", "password/reset": "reset-password", "password/not-me": "not-me"}
SAME = {"next_cursor": "cursor", "recovery_codes": "recovery_code"}  # what is called otherwise when it comes back
LEARNT = {"user_id", "session_id", "cursor", "refresh_token", "access_token", "mfa_token", "secret", "recovery_code"}


class Memory:
    def __init__(self, house: House, chance: random.Random) -> None:
        self._house = house
        self._chance = chance
        self._known: defaultdict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._made: dict[str, Callable[[str, Guest], Any]] = {
            "password": lambda path, guest: new_password() if "register" in path or "users" in path else guest.password,
            "current_password": lambda _, guest: guest.password,
            "new_password": lambda _, __: new_password(),
            "username": lambda path, guest: guest.username if "login" in path else new_name(),
            "email": lambda _, guest: self._chance.choice([guest.email, f"{new_name()}@example.org"]),
            "key": lambda _, __: self._chance.choice(["theme", "language", "a", "b.c"]),
            "code": lambda _, __: TOTP(self._known["secret"][-1]).now() if self._known["secret"] else None,
            "token": lambda path, _: self._token() if path.endswith(("/introspect", "/revoke")) else self._link(path),
            "client_id": lambda _, __: self._house.service["client_id"],
            "client_secret": lambda _, __: self._house.service["client_secret"],
        }

    def learn(self, value: Any) -> None:
        """Everything that has a name in this answer."""
        if isinstance(value, list):
            for each in value:
                self.learn(each)
        elif isinstance(value, dict):
            for name, each in value.items():
                for found in each if isinstance(each, list) else [each]:
                    self._note(SAME.get(name) or name, found)
                self.learn(each)

    def _note(self, name: str, value: Any) -> None:
        if name == "id":
            for each in ("user_id",) if isinstance(value, int) else ("session_id", "passkey_id"):
                self._known[each].append(value)
        elif name in LEARNT and isinstance(value, str | int):
            self._known[name].append(value)

    def recall(self, path: str, name: str, guest: Guest) -> Any:
        """What fits a parameter or a field of this name; None if nothing is known."""
        if name in self._made:
            return self._made[name](path, guest)
        return self._chance.choice(self._known[name]) if self._known.get(name) else None

    def _token(self) -> str | None:
        known = [*self._known["access_token"], *self._known["refresh_token"]]
        return self._chance.choice(known) if known else None

    def _link(self, path: str) -> str | None:
        pages = [page for part, page in PAGES.items() if part in path]
        links = [link for page in pages for link in self._house.links(page)]
        return self._chance.choice(links[-KEPT:]) if links else None
