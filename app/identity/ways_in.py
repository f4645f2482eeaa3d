"""By what a user can sign in, so that nobody shuts himself out."""

from app.database import Transaction
from app.factors import queries as factors
from app.federation import queries as federation
from app.identity import queries
from app.settings import Settings


class WaysIn:
    """A password, a passkey, an identity of somebody who is still asked."""

    def __init__(self, settings: Settings) -> None:
        issuers = [*(each.issuer for each in settings.oidc_providers), settings.gpustack_url]
        self._issuers = list(filter(None, issuers))

    async def none_left(self, tx: Transaction, user_id: int) -> bool:
        """Whether a user who is held has no way in any more."""
        return (
            await queries.lacks_password_login(tx, user_id)
            and not await factors.passkeys_of(tx, user_id)
            and not await federation.count_usable(tx, user_id, self._issuers)
        )
