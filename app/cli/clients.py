"""`gatehouse clients …`: which other services may ask about tokens."""

import argparse
import asyncio

import msgspec

from app.cli.parts import at_work
from app.cli.terminal import answer, table
from app.clients.structs import NewClient, RegisteredClient
from app.settings import Settings, load


def add(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    client = asyncio.run(_add(settings, arguments.name))
    answer(
        arguments,
        {"client_id": client.client_id, "client_secret": client.client_secret},
        f"client_id      {client.client_id}",
        f"client_secret  {client.client_secret}   (shown only now)",
    )
    return 0


def everyone(arguments: argparse.Namespace) -> int:
    clients = asyncio.run(_everyone(load(env_file=arguments.env_file)))
    rows = [(each.client_id, f"{each.created_at:%Y-%m-%d}", each.name) for each in clients]
    answer(arguments, msgspec.to_builtins(clients), table(("client_id", "since", "name"), rows))
    return 0


def remove(arguments: argparse.Namespace) -> int:
    removed = asyncio.run(_remove(load(env_file=arguments.env_file), arguments.name_or_id))
    answer(arguments, msgspec.to_builtins(removed), f"removed {removed.client_id} ({removed.name})")
    return 0


async def _add(settings: Settings, name: str) -> NewClient:
    async with at_work(settings) as parts:
        return await parts.clients.add(name)


async def _everyone(settings: Settings) -> list[RegisteredClient]:
    async with at_work(settings) as parts:
        return await parts.clients.everyone()


async def _remove(settings: Settings, name_or_id: str) -> RegisteredClient:
    async with at_work(settings) as parts:
        return await parts.clients.remove(name_or_id)
