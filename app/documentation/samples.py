"""Ada and what is hers: whom and what the examples of the document are about."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from app.audit.activity import ActivityItem
from app.audit.events import Event
from app.health.structs import Check, Status
from app.identity.identities import Identity
from app.identity.passkeys import (
    Passkey,
)
from app.identity.role_structs import Role
from app.identity.structs import (
    TokenResponse,
    User,
)
from app.sessions.structs import Session
from app.trail.structs import AuditEvent

CURSOR = "1BHoUd8VlD3iYRx0xmr3l5Njb2xsZWN0aW9ucy5hZnRlcg"
MORNING = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
SIGNED_IN = int(MORNING.timestamp())
PHRASE = "plum-Tractor-84-lantern"
BCRYPT = "$2b$12$LX7GNWsi1Z8i2lIOT3oDZeqtQT92KnFxjLeactw5QwsMIdYfCBcJ2"
NEW_PHRASE = "violet-Anvil-29-harbour"
SESSION_ID = UUID("019b8d7d-f1c0-7c44-9d1e-5f2a6b8c0d3e")
ACCESS = (
    "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsxIn0.eyJzdWIiOiI0MiJ9."
    "BaqX39cya4OXRKflW2Y0k-QgiLteuUuj6ns0IXJSOXDCJBG150yDdOHWxTkpIlfLlj2n0ZJOq8LJ0KA95bXI6Q"
)
REFRESH = "gh1_H6MMdwGbjX3xwHxEnR5fKmuMDT4AAAAAGOC0wy1qTBjDXU6HM5EjgIlnPsE_KyFeq6xe70TCOGQ"
ONE_TIME = "gho1_H6MMdwGbjX3xwHxEnR5fKmuMDT5xRJ8f8cHvZrBCU1yWc0yNPvOoPz9LxAhJY0m2r3vQ0Jc"
CLIENT_ID = "ghc_b2a1Wc8kQ0uJ5yq4Zt7dLg"
CLIENT_SECRET = "ghcs_5sK1xTqfXc2Yw0cZl3mB8vJr7nHd4gQeUa6iPo9yRt0"  # noqa: S105 - an example
PENDING = "ghm1_H6MMdwGbjX3xwHxEnR5fKmuMDT5xRJ8f8cHvZrBCU1yWc0yNPvOoPz9LxAhJY0m2r3vQ0Jc"
PAPER = [f"7k2m-9x4t-qw3z-b6cd-h1j0-r8sv-5n8{last}" for last in "0123456789"]
CLIENT_DATA = "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0IiwiY2hhbGxlbmdlIjoiIn0"
CREDENTIAL = "bWFkZS1ieS1hbi1hdXRoZW50aWNhdG9y"
CHALLENGE = "Z2hjMV9JY0dwaGdHaF9xemZtWFp3aTc3SUtkZjF4cWgtODJQVVczc3VXcDA5VVh3YWdpMWk1ZjF5X3lf"
PASSKEY = Passkey(
    id=UUID("019b8d7e-0c11-7a02-8f3b-6d1c2e4a9b57"),
    name="Ada's telephone",
    transports=["internal", "hybrid"],
    backed_up=True,
    created_at=MORNING,
    last_used_at=None,
)

ADA = User(
    id=42,
    username="ada",
    email="ada@example.org",
    email_verified=False,
    full_name="Ada Lovelace",
    is_admin=False,
    is_active=True,
    roles=["editor"],
    permissions=["articles:write"],
    mfa_enabled=False,
    provider="local",
    must_change_password=False,
    created_at=MORNING,
    updated_at=MORNING,
    last_login=MORNING,
)
EDITOR = Role(name="editor", description="Writes articles.", permissions=ADA.permissions, built_in=False)
SESSION = Session(
    id=SESSION_ID,
    user_id=ADA.id,
    username=ADA.username,
    created_at=MORNING,
    last_accessed=MORNING.replace(hour=10),
    expires_at=MORNING.replace(month=2, day=4),
    ip_address="203.0.113.7",
    user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    device_name="Ada's laptop",
    amr=["pwd"],
    current=True,
    revoked_at=None,
    revoked_reason=None,
)
TOKENS = TokenResponse(
    access_token=ACCESS,
    refresh_token=REFRESH,
    token_type="bearer",  # noqa: S106 - RFC 6750's name of a kind of token
    expires_in=900,
    refresh_expires_in=2_592_000,
    session_id=SESSION_ID,
    user=ADA,
)
EVENT = ActivityItem(
    id=2048,
    at=MORNING,
    event=Event.LOGIN_SUCCEEDED,
    user_id=ADA.id,
    actor_id=ADA.id,
    session_id=SESSION_ID,
    ip_address="203.0.113.7",
    user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    request_id="0f9c2a7d5b1e4f3c8a6d9e2b7c4f1a3e",
    details={"amr": ["pwd"]},
)
AUDITED = AuditEvent(**msgspec.structs.asdict(EVENT))
CODE = "gha1_q83vEjRWeJASNFZ4kKvN7wEjRWeJq83vAZ3vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZw"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # of RFC 7636, appendix B
IDENTITY = Identity(
    id=UUID("019a9f0e-7c55-7d3b-9d0c-5b1e8f3a2c41"),
    provider="google",
    issuer="https://accounts.google.com",
    username=None,
    email="ada@example.org",
    created_at=MORNING,
    last_used_at=MORNING,
)
CHECKS = {
    "database": Check(Status.OK, 0.71),
    "valkey": Check(Status.OK, 0.18),
    "migrations": Check(Status.OK, None),
}
