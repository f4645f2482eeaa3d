"""`gatehouse sessions …`: signing out without the API."""

import argparse
import asyncio

import msgspec

from app.cli.parts import at_work
from app.cli.refusal import NobodyNamed
from app.cli.terminal import answer
from app.identity import accounts
from app.problems import convert
from app.sessions.ending import Ended
from app.sessions.filters import SessionFilter
from app.settings import Settings, load

WORDS = ("ip", "device", "created_before", "created_after", "factor")
BY_COMMAND = {"by": "command line"}


def end(arguments: argparse.Namespace) -> int:
    said = {word: value for word in WORDS if (value := getattr(arguments, word)) is not None}
    if not said and arguments.user is None and not arguments.all:
        raise NobodyNamed
    settings = load(env_file=arguments.env_file)
    ended = asyncio.run(end_all(settings, arguments.user, said, dry_run=arguments.dry_run))
    line = f"{ended.matched} would be ended" if arguments.dry_run else f"{ended.revoked} of {ended.matched} ended"
    answer(arguments, msgspec.to_builtins(ended), line)
    return 0


async def end_all(settings: Settings, user: str | None, said: dict[str, str], *, dry_run: bool) -> Ended:
    """All of them: what one call ends is bounded for those alone who wait for an answer over HTTP."""
    async with at_work(settings) as parts:
        user_id = None if user is None else await accounts.id_of(parts.db, user)
        wanted = msgspec.structs.replace(convert(said, SessionFilter), user_id=user_id)
        matched = revoked = 0
        while True:
            ended = await parts.ending.end(wanted, None, None, everybody=True, dry_run=dry_run, details=BY_COMMAND)
            matched, revoked = max(matched, revoked + ended.matched), revoked + ended.revoked
            if dry_run or not ended.revoked or ended.revoked >= ended.matched:
                return Ended(matched=matched, revoked=revoked)
