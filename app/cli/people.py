"""`gatehouse users …`: looking after accounts as by the API, with all rights and without it."""

import argparse
import asyncio

import msgspec

from app.cli import passwords
from app.cli.parts import at_work
from app.cli.refusal import NobodyToInvite
from app.cli.terminal import answer, plain, table
from app.identity import accounts
from app.identity.holdings import UserCredentials
from app.identity.listing import UserFilter, UserSort
from app.identity.structs import NewUser, User, UserChange
from app.listing import MOST_PER_PAGE, Asked
from app.problems import convert
from app.settings import Settings, load

HEADINGS = ("id", "username", "e-mail", "full name", "roles", "active", "last login")


def everyone(arguments: argparse.Namespace) -> int:
    words = {"search": arguments.search, "role": arguments.role, "is_active": False if arguments.inactive else None}
    wanted = convert({**words, "is_admin": None}, UserFilter)
    found = asyncio.run(_everyone(load(env_file=arguments.env_file), wanted, arguments.sort, arguments.limit))
    rows = [
        (
            each.id,
            each.username,
            each.email,
            each.full_name,
            " ".join(each.roles),
            "yes" if each.is_active else "no",
            f"{each.last_login:%Y-%m-%d %H:%M}" if each.last_login else None,
        )
        for each in found
    ]
    answer(arguments, msgspec.to_builtins(found), table(HEADINGS, rows))
    return 0


def show(arguments: argparse.Namespace) -> int:
    user, credentials = asyncio.run(_one(load(env_file=arguments.env_file), arguments.name_or_id))
    data = {**msgspec.to_builtins(user), "credentials": msgspec.to_builtins(credentials)}
    ways = [
        *(["password"] if credentials.has_password else []),
        *(["authenticator"] if credentials.second_factor.totp_since else []),
        *(f"passkey {each.name!r}" for each in credentials.passkeys),
        *(f"identity of {each.provider}" for each in credentials.identities),
    ]
    shown = [(name, _text(value)) for name, value in msgspec.to_builtins(user).items()]
    answer(arguments, data, table(("", ""), [*shown, ("signs in by", ", ".join(ways))]))
    return 0


def create(arguments: argparse.Namespace) -> int:
    if arguments.invite and arguments.email is None:
        raise NobodyToInvite
    password = None if arguments.invite else passwords.chosen(arguments)
    said = {"email": arguments.email, "full_name": arguments.full_name, "roles": arguments.role, "password": password}
    new = convert({"username": arguments.username, **said}, NewUser)
    user = asyncio.run(_create(load(env_file=arguments.env_file), new))
    passwords.tell(arguments, user.id, user.username, password, "shown only now; to be changed at the first sign-in")
    return 0


def activate(arguments: argparse.Namespace) -> int:
    return _set_active(arguments, is_active=True)


def deactivate(arguments: argparse.Namespace) -> int:
    return _set_active(arguments, is_active=False)


def _set_active(arguments: argparse.Namespace, *, is_active: bool) -> int:
    change = convert({"is_active": is_active, "reason": arguments.reason}, UserChange)
    user = asyncio.run(_change(load(env_file=arguments.env_file), arguments.name_or_id, change))
    said = "may sign in" if user.is_active else "may not sign in, and is signed out"
    answer(arguments, msgspec.to_builtins(user), f"{plain(user.username)} {said}")
    return 0


async def _everyone(settings: Settings, wanted: UserFilter, sort: UserSort, limit: int) -> list[User]:
    found: list[User] = []
    cursor = None
    async with at_work(settings) as parts:
        while len(found) < limit:
            most = min(limit - len(found), MOST_PER_PAGE)
            page = await parts.user_list.page(wanted, sort, Asked(page=1, page_size=most, cursor=cursor))
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
    return found


async def _one(settings: Settings, name_or_id: str) -> tuple[User, UserCredentials]:
    async with at_work(settings) as parts:
        user_id = await accounts.id_of(parts.db, name_or_id)
        return await parts.administration.read_user(user_id), await parts.holdings.credentials(user_id)


async def _create(settings: Settings, new: NewUser) -> User:
    async with at_work(settings) as parts:
        return await parts.administration.create_user(None, new, None)


async def _change(settings: Settings, name_or_id: str, change: UserChange) -> User:
    async with at_work(settings) as parts:
        user_id = await accounts.id_of(parts.db, name_or_id)
        return await parts.administration.change_user(None, user_id, change, None)


def _text(value: object) -> object:
    if isinstance(value, list):
        return " ".join(value)
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
