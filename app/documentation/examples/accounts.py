"""An account of one's own: joined, changed, recovered, taken away."""

from collections.abc import Mapping

from msgspec import Struct

from app.audit.activity import ActivityPage
from app.documentation.samples import ADA, EVENT, IDENTITY, MORNING, NEW_PHRASE, ONE_TIME, PASSKEY, PHRASE, SESSION
from app.identity.holdings import Export, HeldFactor
from app.identity.structs import (
    AccountDeletion,
    Forgotten,
    MailedToken,
    PasswordChange,
    PasswordReset,
    ProfileChange,
    Registration,
    User,
)

BY_TYPE: Mapping[object, Mapping[str, Struct]] = {
    Registration: {
        "full": Registration(username="ada", password=PHRASE, email="ada@example.org", full_name="Ada Lovelace"),
        "short": Registration(username="ada", password=PHRASE),
    },
    ProfileChange: {"name": ProfileChange(full_name="Ada King"), "no_name": ProfileChange(full_name=None)},
    PasswordChange: {"password": PasswordChange(current_password=PHRASE, new_password=NEW_PHRASE)},
    Forgotten: {"email": Forgotten(email="ada@example.org")},
    MailedToken: {"token": MailedToken(token=ONE_TIME)},
    PasswordReset: {"reset": PasswordReset(token=ONE_TIME, new_password=NEW_PHRASE)},
    AccountDeletion: {"password": AccountDeletion(password=PHRASE)},
    ActivityPage: {"page": ActivityPage(items=[EVENT], next_cursor="AAAAAAAAB_8")},
    Export: {
        "ada": Export(
            exported_at=MORNING,
            user=ADA,
            pending_email=None,
            second_factor=HeldFactor(totp_since=MORNING, recovery_codes=10),
            passkeys=[PASSKEY],
            identities=[IDENTITY],
            sessions=[SESSION],
            preferences={"theme": "dark"},
            activity=[EVENT],
        )
    },
    User: {"ada": ADA},
}
