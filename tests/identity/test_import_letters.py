"""Whose account an import changes is told at the address that he has proved; nobody is written to anywhere else."""

import pytest
from httpx import AsyncClient

from app.parts import Parts
from tests.identity.importkit import take
from tests.identity.kit import new_role
from tests.identity.mailkit import proved
from tests.kit import SignedIn, new_name
from tests.mail.kit import Postbox


@pytest.mark.parametrize("change", ["moved", "deactivated", "given a role"])
async def test_a_change_is_told_where_he_was(
    client: AsyncClient, admin: SignedIn, postbox: Postbox, parts: Parts, change: str
) -> None:
    ada = await proved(client, postbox)
    address = f"{new_name()}@example.org"
    role = await new_role(parts, "orders:read")
    fields: dict[str, dict[str, object]] = {
        "moved": {"email": address},
        "deactivated": {"is_active": False},
        "given a role": {"roles": [role]},
    }
    before = len(postbox.of(ada.email or ""))

    (said,) = await take(admin, {"username": ada.username, **fields[change]})

    assert said["status"] == "updated"
    told = await postbox.to(ada.email or "", before + 1)
    subjects = {
        "moved": "Your e-mail address was changed",
        "deactivated": "Your account was deactivated",
        "given a role": "What you may do has changed",
    }
    assert told.message["Subject"] == subjects[change]
    assert not await parts.db.fetch("SELECT FROM mail_outbox WHERE user_id = $1 AND recipient = $2", ada.id, address)
    assert not await parts.db.fetch("SELECT FROM one_time_tokens WHERE user_id = $1 AND email = $2", ada.id, address)
