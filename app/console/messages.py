"""What a page tells after a form: the browser keeps the name of it, so that nobody else can make us say something."""

from collections.abc import Mapping

from app.console.languages import mark

GOOD, NEUTRAL, BAD = "success", "secondary", "danger"  # Bootstrap's names of how it looks

MESSAGES: Mapping[str, tuple[str, str]] = {
    "signed-out": (NEUTRAL, mark("You have signed out.")),
    "session-ended": (NEUTRAL, mark("Your session has ended. Sign in to continue.")),
    # signing in, recovery.py, registration.py, federation.py
    "way-lost": (BAD, mark("This took too long, or was started in another browser. Please start over.")),
    "way-left": (NEUTRAL, mark("You were not signed in there. You can try again, or use another way.")),
    "not-let-in": (BAD, mark("You cannot sign in here with this account. Please ask an administrator.")),
    "identity-linked": (GOOD, mark("The identity is linked. You can sign in with it from now on.")),
    "registered": (GOOD, mark("Welcome! Your account is ready.")),
    "registered-sign-in": (GOOD, mark("Your account is ready. Sign in to continue.")),
    "reset-mailed": (
        NEUTRAL,
        mark("If an account has this address, an e-mail with a link is on its way. The link works for an hour."),
    ),
    "password-reset": (GOOD, mark("Your new password is set, and you are signed out everywhere. Sign in with it.")),
    "email-verified": (GOOD, mark("Thank you. Your e-mail address is confirmed.")),
    "shut-out": (
        GOOD,
        mark("Whoever it was is signed out. Check your e-mail: if you have a password here, you can choose a new one."),
    ),
    # of administration
    "user-created": (GOOD, mark("The account has been created.")),
    "user-invited": (GOOD, mark("The account has been created, and an invitation is on its way.")),
    "user-saved": (GOOD, mark("The account has been saved.")),
    "user-roles-saved": (GOOD, mark("The roles have been saved. They apply from now on.")),
    "user-activated": (GOOD, mark("This account can sign in again.")),
    "user-deactivated": (GOOD, mark("This account is signed out everywhere and can no longer sign in.")),
    "user-password-due": (GOOD, mark("This account has to choose a new password before it continues.")),
    "user-password-not-due": (GOOD, mark("This account no longer has to choose a new password.")),
    "user-password-set": (GOOD, mark("The password has been set. It has to be changed at the next sign-in.")),
    "user-reset-sent": (GOOD, mark("A link for a new password is on its way. It works for an hour.")),
    "user-factors-reset": (GOOD, mark("Second factor and passkeys have been removed.")),
    "user-identity-unlinked": (GOOD, mark("The identity has been unlinked.")),
    "user-deleted": (GOOD, mark("The account has been deleted.")),
    "session-ended-one": (GOOD, mark("The session has been ended.")),
    "sessions-ended": (GOOD, mark("Sessions ended: #.")),
    "sessions-ended-partly": (NEUTRAL, mark("Sessions ended so far: #. There are more: go on.")),
    "role-created": (GOOD, mark("The role has been created.")),
    "role-saved": (GOOD, mark("The role has been saved. The change applies to everyone who has it.")),
    "role-deleted": (GOOD, mark("The role has been deleted.")),
    "keys-rotated": (GOOD, mark("A new key is published. It signs in twenty seconds.")),
    "cleaned-up": (GOOD, mark("The clean-up has run. Rows deleted: #.")),
    # my account
    "profile-saved": (GOOD, mark("Your profile has been saved.")),
    "email-asked": (
        GOOD,
        mark("We have sent a link to the new address. It becomes yours as soon as you open the link."),
    ),
    "email-same": (NEUTRAL, mark("This is already your address.")),
    "email-removed": (NEUTRAL, mark("Your e-mail address has been removed.")),
    "link-sent": (GOOD, mark("The link is on its way. Check your e-mail.")),
    "password-changed": (
        GOOD,
        mark("Your password has been changed. All other devices are signed out."),
    ),
    "authenticator-removed": (
        NEUTRAL,
        mark("Signing in no longer asks for a code. Your recovery codes no longer work."),
    ),
    "passkey-added": (GOOD, mark("The passkey is ready. You can sign in with it from now on.")),
    "passkey-renamed": (GOOD, mark("The passkey has its new name.")),
    "passkey-removed": (NEUTRAL, mark("The passkey has been removed. Nobody can sign in with it any more.")),
    "identity-unlinked": (NEUTRAL, mark("The identity has been unlinked. Nobody can sign in with it here any more.")),
    "device-ended": (NEUTRAL, mark("The device has been signed out.")),
    "others-ended": (NEUTRAL, mark("All other devices have been signed out.")),
    "preferences-saved": (GOOD, mark("Your preferences have been saved.")),
    "account-deleted": (NEUTRAL, mark("Your account has been deleted, with everything that was yours.")),
}
