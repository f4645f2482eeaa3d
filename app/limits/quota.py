"""How often something may be had at all: registrations from a network, mails to an address."""

from app.client import Client
from app.errors import RateLimited
from app.limits.attempts import Counter
from app.limits.violations import Violations
from app.limits.windows import Windows
from app.setting_values import Rate


class Quota:
    """Counts what was asked, whatever became of it, so that an answer tells nothing.

    Args:
        name: of the limit, in the metrics.
        windows: where it is counted.
        violations: who is told of a refusal.
        rate: how many; None for no limit.
    """

    def __init__(self, name: str, windows: Windows, violations: Violations, rate: Rate | None) -> None:
        self._name = name
        self._windows = windows
        self._violations = violations
        self._rate = rate

    async def hit(self, key: str, client: Client, user_id: int | None) -> None:
        """Count one more of this key.

        Raises:
            RateLimited: there were as many as there may be.
        """
        counter = Counter(self._name, key, self._rate)
        try:
            await self._windows.hit(counter.name, counter.key, counter.rate)
        except RateLimited as limited:
            await self._violations.note(limited, (counter,), client, user_id)
            raise

    async def has_room(self, key: str, client: Client) -> bool:
        """Count one more of this key, if there is room for it."""
        try:
            await self.hit(key, client, None)
        except RateLimited:
            return False
        return True
