"""The inventory of the console's pages: who sees which, and what has to be on it. A new page is a line here.

tests/console/test_inventory.py fails for a page that is not listed. What varies in an address is filled from the
`values` of the scene that it is looked at in (tests/browser/scene.py).
"""

from dataclasses import dataclass

NOBODY, USER, GUARDED, ADMIN = "nobody", "user", "guarded", "admin"
INSIDE = (USER, ADMIN)
OWN = (USER,)  # one's own account, which looks like everybody's
PROVED = (GUARDED,)  # who has an authenticator, a passkey and a linked identity


@dataclass(frozen=True)
class Listed:
    """A page.

    Args:
        name: of its picture.
        path: of its route.
        who: sees it.
        has: the text that has to be on it.
        query: of the address that leads to it.
        status: of the answer.
        readme: whether its picture is one of those that the README shows.
        steps: what leads to it, if no address does: a method of the scene.
    """

    name: str
    path: str
    who: tuple[str, ...]
    has: str
    query: str = ""
    status: int = 200
    readme: bool = False
    steps: str = ""

    def __str__(self) -> str:
        return self.name


M = "/console/admin"
ONE = M + "/users/{user_id:int}"

PAGES = (
    # before the door
    Listed("sign-in", "/console/sign-in", (NOBODY,), "Sign in", readme=True),
    Listed("second-step", "/console/sign-in", (NOBODY,), "One more step", steps="second_step"),
    Listed("register", "/console/register", (NOBODY,), "Create an account"),
    Listed("forgot", "/console/forgot", (NOBODY,), "Forgotten your password?"),
    Listed("reset", "/console/reset-password", (NOBODY,), "Choose a password", query="?token=x"),
    Listed("verify", "/console/verify-email", (NOBODY,), "Confirm your e-mail", query="?token=x"),
    Listed("not-me", "/console/not-me", (NOBODY,), "Was it somebody else?", query="?token=x"),
    Listed("email", "/console/account/email", OWN, "Change your address"),
    Listed("email-remove", "/console/account/email/remove", OWN, "Remove your address"),
    Listed("password", "/console/account/password", OWN, "New password again"),
    Listed("factors", "/console/account/factors", (USER, GUARDED), "Passkeys"),
    Listed("authenticator", "/console/account/factors/authenticator", OWN, "Before you begin"),
    Listed("authenticator-remove", "/console/account/factors/authenticator/remove", PROVED, "Remove the authenticator"),
    Listed("new-codes", "/console/account/factors/codes", PROVED, "New recovery codes"),
    Listed("codes", "/console/account/factors/codes", PROVED, "Keep these ten codes", steps="new_codes"),
    Listed("passkey-new", "/console/account/factors/passkeys/new", OWN, "Add a passkey"),
    Listed("passkey", "/console/account/factors/passkeys/{passkey_id:uuid}", PROVED, "Rename"),
    Listed("passkey-remove", "/console/account/factors/passkeys/{passkey_id:uuid}/remove", PROVED, "Remove a passkey"),
    Listed("identities", "/console/account/identities", (USER, GUARDED), "What you can sign in with"),
    Listed("identity-unlink", "/console/account/identities/{identity_id:uuid}/unlink", PROVED, "Unlink it"),
    Listed("devices", "/console/account/devices", OWN, "This device", readme=True),
    Listed("activity", "/console/account/activity", OWN, "Signed in"),
    Listed("preferences", "/console/account/preferences", OWN, "Models and conversations"),
    Listed("data", "/console/account/data", OWN, "Download my data"),
    Listed("delete", "/console/account/data/delete", OWN, "This cannot be undone."),
    Listed("nowhere", "/console/{path:path}", (NOBODY, USER), "There is no such page", status=404),
    # my account
    Listed("confirm", "/console/confirm", (USER, GUARDED), "Is it you?"),
    Listed("profile", "/console/account", INSIDE, "Profile", readme=True),
    Listed("identity-link", "/console/account/identities/link/{provider:str}", OWN, "Link", status=503),
    # administration
    Listed("admin-overview", M, (ADMIN,), "Overview", query="?span=30d", readme=True),
    Listed("admin-users", f"{M}/users", (ADMIN,), "Users", readme=True),
    Listed("admin-user-new", f"{M}/users/new", (ADMIN,), "New user"),
    Listed("admin-user", ONE, (ADMIN,), "Name and e-mail"),
    Listed("admin-user-delete", f"{ONE}/delete", (ADMIN,), "Delete"),
    Listed("admin-user-factors", f"{ONE}/factors", (ADMIN,), "Remove second factors?"),
    Listed("admin-user-identity", ONE + "/identities/{identity_id:uuid}", (ADMIN,), "Unlink this identity?"),
    Listed("admin-sessions", f"{M}/sessions", (ADMIN,), "Sessions"),
    Listed("admin-sessions-end", f"{M}/sessions/end", (ADMIN,), "End sessions", query="?ip=203.0.113.0%2F24"),
    Listed("admin-roles", f"{M}/roles", (ADMIN,), "Roles"),
    Listed("admin-role-new", f"{M}/new-role", (ADMIN,), "New role"),
    Listed("admin-role", M + "/roles/{name:str}", (ADMIN,), "What it allows"),
    Listed("admin-role-delete", M + "/roles/{name:str}/delete", (ADMIN,), "Delete the role"),
    Listed("admin-audit", f"{M}/audit", (ADMIN,), "Audit"),
    Listed("admin-keys", f"{M}/keys", (ADMIN,), "Keys"),
    Listed("admin-keys-rotate", f"{M}/keys/rotate", (ADMIN,), "Publish a new key?"),
    Listed("admin-settings", f"{M}/settings", (ADMIN,), "Settings and upkeep"),
)

# Routes that answer a GET and are no page of their own, and why.
NO_PAGES = {
    "/console": "leads to the sign-in or the account",
    "/console/static/{name:str}": "styles, scripts and icons",
    "/console/account/identities/return": "the way back from a provider",
    "/console/confirm/passkey": "loaded anew, leads to where its form is",
    "/console/sign-in/code": "the same",
    "/console/sign-in/passkey": "the same",
    "/console/confirm/return": "the way back from a provider",
    "/console/confirm/with/{provider:str}": "the way to a provider",
    "/console/sign-in/return": "the way back from a provider",
    "/console/sign-in/with/{provider:str}": "the way to a provider",
    "/console/account/data/export": "a file",
}
