"""By what a user can sign in, so that nobody shuts himself out."""

from app.database import Database, Transaction
from app.factors import queries as factors
from app.federation import queries as federation
from app.identity import queries
from app.settings import Settings


class WaysIn:
    """A password, a passkey, an identity of somebody who is still asked."""

    def __init__(self, settings: Settings) -> None:
        issuers = [*(each.issuer for each in settings.oidc_providers), settings.gpustack_url]
        self._issuers = list(filter(None, issuers))

    async def none_left(self, on: Database | Transaction, user_id: int) -> bool:
        """Whether a user has no way in any more; who takes one away holds him."""
        return (
            await queries.lacks_password_login(on, user_id)
            and not await factors.passkeys_of(on, user_id)
            and not await federation.has_usable(on, user_id, self._issuers)
        )
