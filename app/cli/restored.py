"""`gatehouse restored`: what follows the return of a backup."""

import argparse
import asyncio

import asyncpg
import msgspec

from app.cli.refusal import NotRestored, NotTheOwner, SchemaBehind
from app.cli.terminal import answer
from app.settings import load
from db import restoration


def run(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    try:
        report = asyncio.run(
            restoration.restore(settings.database_url, nothing_lost=arguments.nothing_lost, anyway=arguments.anyway)
        )
    except restoration.NotMigrated as behind:
        raise SchemaBehind from behind
    except restoration.NotCopied as own:
        raise NotRestored from own
    except asyncpg.InsufficientPrivilegeError as refused:
        raise NotTheOwner from refused
    known = f"known for a copy by: {', '.join(report.told_by)}" if report.told_by else "not known for a copy"
    lines = [f"{known}; the service takes it for its own from now on"]
    if not arguments.nothing_lost:
        lines.append(f"ended: {report.ended} sessions")
        lines += [f"deleted: {report.deleted[table]} {name}" for table, name in restoration.EMPTIED.items()]
        last = (
            f"the last event is of {report.last_event:%Y-%m-%dT%H:%M:%SZ}" if report.last_event else "no event is left"
        )
        lines.append(
            f"{last}: do again what was done later, who was deactivated or deleted, lost a right, changed a password"
        )
    answer(arguments, msgspec.to_builtins(report), *lines)
    return 0
