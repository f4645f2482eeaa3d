"""How often anybody may have mail sent to an address."""

from app.client import Client
from app.errors import RateLimited
from app.limits.attempts import Counter
from app.limits.violations import Violations
from app.limits.windows import Windows
from app.settings import Rate


class MailLimit:
    """Counts by address, whoever asks, and whether the address is known or not."""

    def __init__(self, windows: Windows, violations: Violations, rate: Rate | None) -> None:
        self._windows = windows
        self._violations = violations
        self._rate = rate

    async def hit(self, email: str, client: Client, user_id: int | None) -> None:
        """Count a mail.

        Raises:
            RateLimited: there were as many as there may be.
        """
        counter = Counter("forgot", email, self._rate)
        try:
            await self._windows.hit(counter.name, counter.key, counter.rate)
        except RateLimited as limited:
            await self._violations.note(limited, (counter,), client, user_id)
            raise
