"""What a client says to two replicas of different releases, and relies on; knows HTTP and nothing of the service.

Every step is done at `here` and looked at from `there`; whoever has both directions to show calls it twice.
"""

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyotp
from httpx import Client, Response

BASE = "/api/auth/v2"

_hosts = itertools.count(1)


class Broken(Exception):
    """A step that a client could rely on did not go as it should."""


@dataclass
class Replica:
    """One server, and how often it was asked: each question comes from an address of its own, so no limit counts."""

    name: str
    http: Client

    def ask(self, method: str, path: str, token: str = "", **kwargs: Any) -> Response:
        number = next(_hosts)
        headers = {"X-Forwarded-For": f"100.{64 + (number >> 16) % 64}.{(number >> 8) & 255}.{number & 255}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.http.request(method, BASE + path, headers=headers, **kwargs)


@dataclass
class Admin:
    username: str
    password: str


@dataclass
class Someone:
    username: str
    password: str
    id: int


def talk(here: Replica, there: Replica, admin: Admin, say: Callable[[str], None]) -> None:
    """The whole conversation.

    Raises:
        Broken: a step did not go as it should.
    """
    for step in (refreshes, sign_outs, password, preferences, rights, deactivation, second_factor, lists):
        step(here, there, admin)
        say(f"  {here.name} -> {there.name}: {step.__doc__}")


def refreshes(here: Replica, there: Replica, _: Admin) -> None:
    """A session of the one is known to the other, which refreshes it, in the grace window again."""
    someone = register(here)
    session = login(here, someone)
    _same(me(here, session), me(there, session), there)
    first = _expect(there.ask("POST", "/refresh", json={"refresh_token": session["refresh_token"]}), 200)
    again = _expect(here.ask("POST", "/refresh", json={"refresh_token": session["refresh_token"]}), 200)
    if first["refresh_token"] != again["refresh_token"]:
        raise Broken(f"{here.name} and {there.name} give different successors of one token")
    me(here, first)
    last = _expect(here.ask("POST", "/refresh", json={"refresh_token": first["refresh_token"]}), 200)
    for replica in (there, here):
        me(replica, last)
        _expect(replica.ask("GET", "/verify", last["access_token"]), 200, 204)


def sign_outs(here: Replica, there: Replica, _: Admin) -> None:
    """A sign-out at the one is seen by the next request at the other, whoever has filled the cache."""
    someone = register(there)
    for number in range(10):
        session = login(here if number % 2 else there, someone)
        me(here if number % 3 else there, session)
        me(there, session)
        _expect(here.ask("POST", "/logout", session["access_token"]), 204)
        _expect(there.ask("GET", "/me", session["access_token"]), 401)
        _expect(there.ask("POST", "/refresh", json={"refresh_token": session["refresh_token"]}), 401)
    sessions = [login(here, someone) for _ in range(3)]
    for session in sessions:
        me(there, session)
    _expect(here.ask("POST", "/logout/all", sessions[0]["access_token"]), 204)
    for session in sessions:
        _expect(there.ask("GET", "/me", session["access_token"]), 401)


def password(here: Replica, there: Replica, _: Admin) -> None:
    """A new password ends the other sessions, and is the one that counts."""
    someone = register(here)
    stays, ends = login(here, someone), login(there, someone)
    me(here, ends)
    new = new_password()
    body = {"current_password": someone.password, "new_password": new}
    _expect(here.ask("POST", "/me/password", stays["access_token"], json=body), 200, 204)
    _expect(there.ask("GET", "/me", ends["access_token"]), 401)
    _expect(there.ask("POST", "/login", json={"username": someone.username, "password": someone.password}), 401)
    me(here, login(there, Someone(someone.username, new, someone.id)))


def preferences(here: Replica, there: Replica, _: Admin) -> None:
    """Preferences that the one takes, the other shows."""
    session = login(there, register(here))
    token = session["access_token"]
    kept = {"theme": "dark", "orders.columns": ["id", None, {"wide": True}]}
    _expect(here.ask("POST", "/preferences", token, json=kept), 200)
    if _expect(there.ask("GET", "/preferences", token), 200) != kept:
        raise Broken(f"{there.name} shows other preferences than {here.name} has taken")
    _expect(there.ask("DELETE", "/preferences/theme", token), 204)
    _expect(here.ask("GET", "/preferences/theme", token), 404)


def rights(here: Replica, there: Replica, admin: Admin) -> None:
    """A right that is given or taken at the one counts for the next request at the other."""
    root = _signed_in(here, admin)
    role = f"readers-{secrets.token_hex(4)}"
    _expect(here.ask("POST", "/roles", root, json={"name": role, "permissions": ["users:read"]}), 201)
    someone = register(here)
    session = login(there, someone)
    path = f"/users/{someone.id}/roles"
    for _ in range(3):
        for roles, status in (([role], 200), ([], 403)):
            _expect(here.ask("PUT", path, root, json={"roles": roles}), 200)
            _expect(there.ask("GET", "/users", session["access_token"]), status)
            if me(there, session)["roles"] != roles:
                raise Broken(f"{there.name} shows other roles than {here.name} has given")
    _expect(there.ask("PUT", path, root, json={"roles": [role]}), 200)
    _expect(here.ask("PATCH", f"/roles/{role}", root, json={"permissions": ["sessions:read"]}), 200)
    _expect(there.ask("GET", "/users", session["access_token"]), 403)
    _expect(there.ask("DELETE", f"/roles/{role}", root), 204)


def deactivation(here: Replica, there: Replica, admin: Admin) -> None:
    """Who is deactivated at the one is out at the other."""
    root = _signed_in(there, admin)
    someone = register(there)
    session = login(there, someone)
    me(here, session)
    _expect(here.ask("PATCH", f"/users/{someone.id}", root, json={"is_active": False}), 200)
    _expect(there.ask("GET", "/me", session["access_token"]), 401)
    _expect(there.ask("POST", "/login", json={"username": someone.username, "password": someone.password}), 401)
    _expect(there.ask("DELETE", f"/users/{someone.id}", root), 204)
    _expect(here.ask("GET", f"/users/{someone.id}", root), 404)


def second_factor(here: Replica, there: Replica, _: Admin) -> None:
    """An authenticator that the one has sealed, the other opens; a recovery code is good once in all."""
    someone = register(here)
    token = login(here, someone)["access_token"]
    totp = pyotp.TOTP(_expect(here.ask("POST", "/me/mfa/totp", token), 201)["secret"])
    codes = _expect(there.ask("POST", "/me/mfa/totp/confirm", token, json={"code": totp.now()}), 200)["recovery_codes"]
    for first, second, status in ((there, here, 200), (here, there, 401)):
        body = {"username": someone.username, "password": someone.password}
        due = _expect(first.ask("POST", "/login", json=body), 401)
        asked = {"mfa_token": due["mfa_token"], "recovery_code": codes[0]}
        _expect(second.ask("POST", "/login/mfa", json=asked), status)


def lists(here: Replica, there: Replica, admin: Admin) -> None:
    """Lists of administration are the same, and a page of the one goes on at the other."""
    root = _signed_in(here, admin)
    for path in ("/users?sort=username&page_size=3", "/sessions?page_size=3", "/audit"):
        page = _expect(here.ask("GET", path, root), 200)
        _same(page["items"][-1], _expect(there.ask("GET", path, root), 200)["items"][-1], there)
        if not page["next_cursor"]:
            raise Broken(f"{here.name}: {path} has no second page")
        following = f"{path}{'&' if '?' in path else '?'}cursor={page['next_cursor']}"
        _same(
            _expect(here.ask("GET", following, root), 200)["items"][0],
            _expect(there.ask("GET", following, root), 200)["items"][0],
            there,
        )


# ---- single words --------------------------------------------------------------------------------------------------


def register(replica: Replica) -> Someone:
    username, password = f"user-{secrets.token_hex(5)}", new_password()
    body = {"username": username, "password": password}
    return Someone(username, password, _expect(replica.ask("POST", "/register", json=body), 201)["id"])


def login(replica: Replica, someone: Someone | Admin) -> dict[str, Any]:
    body = {"username": someone.username, "password": someone.password}
    return _expect(replica.ask("POST", "/login", json=body), 200)


def me(replica: Replica, session: dict[str, Any]) -> dict[str, Any]:
    return _expect(replica.ask("GET", "/me", session["access_token"]), 200)


def new_password() -> str:
    return f"{secrets.token_urlsafe(12)}-Zebra"


def _signed_in(replica: Replica, admin: Admin) -> str:
    return str(login(replica, admin)["access_token"])


def _same(one: dict[str, Any], other: dict[str, Any], there: Replica) -> None:
    """What both releases say; a newer one may say more."""
    differing = {field for field in one.keys() & other.keys() if one[field] != other[field]}
    if differing - {"last_accessed", "last_login"}:  # which go on meanwhile
        raise Broken(f"{there.name} tells another {', '.join(sorted(differing))}")


def _expect(answer: Response, *statuses: int) -> dict[str, Any]:
    if answer.status_code not in statuses:
        asked = f"{answer.request.method} {answer.request.url}"
        raise Broken(f"{asked}: {answer.status_code} instead of {statuses}: {answer.text[:500]}")
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found
