"""`gatehouse roles …`: roles without the API, by whoever may run commands on the server."""

import argparse
import asyncio

import msgspec
from msgspec import UNSET

from app.cli.parts import at_work
from app.cli.terminal import answer, plain, table
from app.identity.role_structs import NewRole, Role, RoleChange
from app.settings import Settings, load


def everything(arguments: argparse.Namespace) -> int:
    roles = asyncio.run(_everything(load(env_file=arguments.env_file)))
    rows = [(each.name, _allowed(each), each.description) for each in roles]
    answer(arguments, msgspec.to_builtins(roles), table(("name", "permissions", "description"), rows))
    return 0


def show(arguments: argparse.Namespace) -> int:
    return _shown(arguments, asyncio.run(_one(load(env_file=arguments.env_file), arguments.name)))


def create(arguments: argparse.Namespace) -> int:
    new = NewRole(name=arguments.name, description=arguments.description or "", permissions=arguments.allow)
    return _shown(arguments, asyncio.run(_create(load(env_file=arguments.env_file), new)))


def change(arguments: argparse.Namespace) -> int:
    asked = RoleChange(
        name=UNSET if arguments.rename is None else arguments.rename,
        description=UNSET if arguments.description is None else arguments.description,
        add_permissions=arguments.allow,
        remove_permissions=arguments.disallow,
    )
    return _shown(arguments, asyncio.run(_change(load(env_file=arguments.env_file), arguments.name, asked)))


def delete(arguments: argparse.Namespace) -> int:
    role = asyncio.run(_delete(load(env_file=arguments.env_file), arguments.name))
    answer(arguments, msgspec.to_builtins(role), f"deleted {role.name}")
    return 0


def _shown(arguments: argparse.Namespace, role: Role) -> int:
    answer(
        arguments,
        msgspec.to_builtins(role),
        f"name         {role.name}",
        f"description  {plain(role.description)}".rstrip(),
        f"permissions  {_allowed(role)}".rstrip(),
    )
    return 0


def _allowed(role: Role) -> str:
    return "all" if role.built_in else " ".join(role.permissions)


async def _everything(settings: Settings) -> list[Role]:
    async with at_work(settings) as parts:
        return await parts.roles.everything()


async def _one(settings: Settings, name: str) -> Role:
    async with at_work(settings) as parts:
        return await parts.roles.one(name)


async def _create(settings: Settings, new: NewRole) -> Role:
    async with at_work(settings) as parts:
        return await parts.roles.create(None, new, None)


async def _change(settings: Settings, name: str, asked: RoleChange) -> Role:
    async with at_work(settings) as parts:
        return await parts.roles.change(None, name, asked, None)


async def _delete(settings: Settings, name: str) -> Role:
    async with at_work(settings) as parts:
        return await parts.roles.delete(None, name, None)
