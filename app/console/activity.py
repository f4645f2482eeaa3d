"""What happened to one's account, in words."""

from collections.abc import Callable, Mapping
from typing import Any

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from msgspec import Struct

from app.audit.activity import ActivityAsked, ActivityItem, CursorText
from app.audit.events import Event
from app.console.languages import mark
from app.console.visit import Visit
from app.devices import device_name
from app.federation.sign_ins import SignIns
from app.identity.holdings import Holdings
from app.problems import convert
from app.sessions.caller import Caller

PAGE = 25  # events: some three screens

BAD, GOOD, PLAIN = "bad", "good", "plain"  # how an event is marked

EVENTS: Mapping[str, tuple[str, str]] = {
    Event.USER_REGISTERED: (GOOD, mark("The account was created")),
    Event.LOGIN_SUCCEEDED: (PLAIN, mark("Signed in")),
    Event.LOGIN_FAILED: (BAD, mark("A sign-in failed")),
    Event.RATE_LIMITED: (BAD, mark("Too many attempts were blocked")),
    Event.LOGOUT: (PLAIN, mark("Signed out")),
    Event.TOKEN_REFRESHED: (PLAIN, mark("A session was renewed")),
    Event.TOKEN_REUSE_DETECTED: (
        BAD,
        mark("A device was signed out, because its key may have been copied"),
    ),
    Event.SESSION_REVOKED: (PLAIN, mark("A device was signed out")),
    Event.PASSWORD_CHANGED: (GOOD, mark("The password was changed")),
    Event.PASSWORD_RESET_REQUESTED: (PLAIN, mark("A link for a new password was asked for")),
    Event.PASSWORD_RESET: (GOOD, mark("The password was reset by a link")),
    Event.EMAIL_VERIFIED: (GOOD, mark("The e-mail address was verified")),
    Event.MFA_ENABLED: (GOOD, mark("The authenticator was set up")),
    Event.MFA_DISABLED: (BAD, mark("The authenticator was removed")),
    Event.PASSKEY_ADDED: (GOOD, mark("A passkey was added")),
    Event.PASSKEY_REMOVED: (BAD, mark("A passkey was removed")),
    Event.IDENTITY_LINKED: (GOOD, mark("An identity was linked")),
    Event.IDENTITY_UNLINKED: (BAD, mark("An identity was unlinked")),
    Event.USER_CREATED: (GOOD, mark("The account was created")),
    Event.USER_UPDATED: (PLAIN, mark("The account was changed")),
    Event.USER_DELETED: (BAD, mark("The account was deleted")),
    Event.ROLE_CHANGED: (PLAIN, mark("The roles were changed")),
    Event.CLEANUP_RAN: (PLAIN, mark("The clean-up ran")),
    Event.AUDIT_EXPORTED: (PLAIN, mark("The audit trail was exported")),
    Event.KEYS_ROTATED: (PLAIN, mark("The signing key was replaced")),
    Event.DATABASE_RESTORED: (BAD, mark("The database was restored from a backup")),
}
NEW_CODES = (GOOD, mark("New recovery codes were created"))
CONFIRMED = (PLAIN, mark("Confirmed who you are"))

REASONS: Mapping[str, str] = {
    "wrong_password": mark("the password was wrong"),
    "no_password": mark("the account has no password"),
    "inactive": mark("the account was not active"),
    "invalid_mfa": mark("the code was wrong"),
    "invalid_passkey": mark("the passkey was not accepted"),
    "revoked_by_user": mark("by yourself"),
    "password_changed": mark("because the password was changed"),
    "deactivated": mark("because the account was deactivated"),
    "not_me": mark("because of “This was not me”"),
    "revoked_by_admin": mark("by an administrator"),
    "revoked_by_client": mark("by an application"),
    "restored": mark("because the database was restored from a backup"),
}
FIELDS: Mapping[str, str] = {
    "email": mark("e-mail address"),
    "full_name": mark("full name"),
    "username": mark("username"),
    "is_active": mark("active or not"),
    "must_change_password": mark("the password has to be changed"),
}
WAYS: Mapping[str, str] = {  # of RFC 8176; those that are not here say how, and not by what
    "pwd": mark("password"),
    "otp": mark("code"),
    "pop": mark("passkey"),
    "fed": mark("another service"),
}


class Told(Struct, frozen=True):
    """An event as its user reads it; texts that are ours are still to be translated, names are as they are."""

    item: ActivityItem
    kind: str
    text: str
    ours: list[str]
    names: list[str]
    device: str | None
    by_others: bool


def told(item: ActivityItem, label: Callable[[str], str]) -> Told:
    kind, text = _event(item)
    said = item.details
    ours = [WAYS[way] for way in _texts(said.get("amr")) if way in WAYS]
    ours += [FIELDS[field] for field in _texts(said.get("changed")) if field in FIELDS]
    ours += [REASONS[reason] for reason in _texts(said.get("reason")) if reason in REASONS]
    names = _texts(said.get("name")) + [label(each) for each in _texts(said.get("provider"))]
    names += [reason for reason in _texts(said.get("reason")) if reason not in REASONS]  # an administrator's own words
    names += [f"+ {role}" for role in _texts(said.get("added"))]
    names += [f"\N{MINUS SIGN} {role}" for role in _texts(said.get("removed"))]
    return Told(
        item=item,
        kind=kind,
        text=text,
        ours=ours,
        names=names,
        device=device_name(item.user_agent) if item.user_agent else None,
        by_others=item.actor_id not in (None, item.user_id),
    )


def _event(item: ActivityItem) -> tuple[str, str]:
    if item.event == Event.MFA_ENABLED and item.details.get("method") == "recovery_codes":
        return NEW_CODES
    if item.event == Event.LOGIN_SUCCEEDED and item.details.get("reauthentication"):
        return CONFIRMED
    return EVENTS[item.event]


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - details hold whatever their event says
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]


class ActivityPages(Controller):
    path = "/account/activity"

    @get()
    async def activity(
        self,
        visit: NamedDependency[Visit],
        caller: Caller,
        holdings: NamedDependency[Holdings],
        sign_ins: NamedDependency[SignIns],
        cursor: FromQuery[CursorText | None] = None,
    ) -> Response[bytes]:
        asked = convert({"cursor": cursor, "page_size": PAGE}, ActivityAsked)
        page = await holdings.activity(caller.user_id, asked.cursor, asked.page_size)
        events = [told(item, sign_ins.label) for item in page.items]
        return visit.page("account/activity.html", events=events, next_cursor=page.next_cursor, first=cursor is None)
