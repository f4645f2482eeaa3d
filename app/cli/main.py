"""The console script `gatehouse`: which commands there are, and how each of them can fail."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from app.cli.interruption import interruption
from app.cli.refusal import Refused
from app.cli.terminal import complain
from app.settings import InvalidSettings

EXIT_REFUSED = 1
EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it; to stop a server is no failure

SERVERS = ("dev", "serve")
SORTS = [f"{sign}{name}" for name in ("username", "email", "created_at", "last_login") for sign in ("", "-")]
MOST_LINES = 1_000_000  # of a list: whoever wants all of a larger one exports it


class Commands(Protocol):
    """What argparse gives for its subcommands, under no public name."""

    def add_parser(self, name: str, *, help: str, description: str) -> argparse.ArgumentParser: ...  # noqa: A002


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status.

    A command's module is imported only when it runs: all of them take 2 s, `gatehouse --help` should take none, and the
    server has to name a directory for its metrics before what counts is imported.
    """
    arguments = parser().parse_args(_signed(sys.argv[1:] if argv is None else argv))
    interruption.listen()
    try:
        importlib.import_module("app.logs").aside()
        command = importlib.import_module(f"app.cli.{arguments.module}")
        status: int = getattr(command, arguments.function)(arguments)
    except InvalidSettings as invalid:
        for problem in invalid.problems:
            complain(problem)
        return EXIT_SETTINGS
    except KeyboardInterrupt:
        return 0 if arguments.module in SERVERS else EXIT_INTERRUPTED
    except BrokenPipeError:  # `gatehouse openapi | head`
        sys.stderr.close()
        return EXIT_REFUSED
    except Exception as error:
        line = _line(error)
        if line is None:
            raise
        complain(line)
        return EXIT_REFUSED
    return status


def _signed(words: Sequence[str]) -> list[str]:
    """`--sort -created_at` as it is meant: argparse would take what begins with a sign for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--sort" and word in SORTS:
            joined[-1] = f"--sort={word}"
        else:
            joined.append(word)
    return joined


def _line(error: Exception) -> str | None:
    """What a foreseen error says in one line; None for a fault of ours, which keeps its traceback."""
    if isinstance(error, Refused):
        return str(error)
    translate = importlib.import_module("app.cli.translation").translate
    line: str | None = translate(error)
    return line


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser("gatehouse", description="A self-hosted authentication service.")
    top.add_argument("--version", action="version", version=f"gatehouse {version('gatehouse')}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _serving(commands)
    _operating(commands)
    _people(commands)
    _rights(commands)
    _signed_in(commands)
    _services(commands)
    return top


def _serving(commands: Commands) -> None:
    dev = _command(
        commands, "dev", "PostgreSQL, Valkey and the service on this machine, for trying and developing", "dev"
    )
    dev.add_argument("--data-dir", type=Path, default=Path(".data"), metavar="DIR", help="what is kept (default .data)")
    _listening(dev, "127.0.0.1", "only this machine")
    serve = _command(commands, "serve", "the service, on DATABASE_URL and VALKEY_URL", "serve")
    _listening(serve, "0.0.0.0", "every IPv4 address, as a container needs it; :: for IPv6 as well")  # noqa: S104


def _listening(command: argparse.ArgumentParser, host: str, meaning: str) -> None:
    command.add_argument("--host", default=host, help=f"where to listen (default {host}: {meaning})")
    command.add_argument("--port", type=_port, default=8000, help="(default 8000)")
    command.add_argument("--workers", type=_workers, default=1, help="processes (default 1; one a core is enough)")


def _operating(commands: Commands) -> None:
    migrate = _command(
        commands, "migrate", "bring the schema to head; safe from any number of replicas at once", "migrate"
    )
    migrate.add_argument("--plan", action="store_true", help="only show what is missing, and its SQL")
    migrate.add_argument(
        "--grant",
        metavar="ROLE",
        help="let this role of PostgreSQL run the service; it can only add to the audit trail",
    )
    _with_settings(migrate)
    _with_json(migrate)
    restored = _command(
        commands, "restored", "after a backup was restored: what had ended does not live again", "restored"
    )
    lost = restored.add_mutually_exclusive_group()
    lost.add_argument(
        "--nothing-lost",
        action="store_true",
        help="end nothing: it is a copy that lacks nothing (pg_upgrade, a failover)",
    )
    lost.add_argument(
        "--anyway",
        action="store_true",
        help="end all, though nothing shows a copy: files or a disk were put back as they had been",
    )
    _with_settings(restored)
    _with_json(restored)
    check = _command(commands, "check", "what is wrong with the settings and the stores, and how to mend it", "check")
    check.add_argument("--workers", type=_workers, default=1, help="of the server, for its connections (default 1)")
    _with_settings(check)
    _with_json(check)
    cleanup = _command(commands, "cleanup", "delete what has expired, now", "upkeep", "cleanup")
    _with_settings(cleanup)
    _with_json(cleanup)
    _command(commands, "openapi", "print the OpenAPI document", "openapi")
    keys = _group(commands, "keys", "the keys that sign tokens")
    rotate = _command(keys, "rotate", "publish a new key, which soon begins to sign", "upkeep", "rotate")
    _with_settings(rotate)
    _with_json(rotate)


def _people(commands: Commands) -> None:
    users = _group(commands, "users", "accounts")
    _looking_after(users)
    create = _command(users, "create-admin", "make an administrator", "accounts", "create_admin")
    create.add_argument("--username", default="admin", help="(default admin)")
    create.add_argument("--email")
    password = _command(users, "set-password", "the way back in; ends the user's sessions", "accounts", "set_password")
    password.add_argument("name", metavar="NAME", help="the username")
    sync = _command(users, "sync", "bring over GPUStack's users, now", "accounts", "sync")
    _with_settings(sync)
    _with_json(sync)
    take = _command(users, "import", "make and change users by a file of JSON lines", "transfer", "take")
    take.add_argument("file", metavar="FILE", help="a user a line (docs/administration.md); - for standard input")
    take.add_argument("--report", type=Path, metavar="FILE", help="write what became of each line there")
    _with_settings(take)
    _with_json(take)
    give = _command(users, "export", "all users, as JSON lines that can be imported", "transfer", "give")
    give.add_argument("file", metavar="FILE", nargs="?", default="-", help="(default: standard output)")
    give.add_argument(
        "--with-hashes", action="store_true", help="of their passwords, to bring them to another Gatehouse"
    )
    _with_settings(give)
    for command in (create, password):
        command.add_argument(
            "--password-stdin", action="store_true", help="read it from standard input; else one is made and shown once"
        )
        _with_settings(command)
        _with_json(command)


def _looking_after(users: Commands) -> None:
    everyone = _command(users, "list", "who there is", "people", "everyone")
    everyone.add_argument("--search", metavar="WORDS", help="in the name, the address or the full name")
    everyone.add_argument("--role", metavar="NAME", help="who has this role")
    everyone.add_argument("--inactive", action="store_true", help="who may not sign in")
    everyone.add_argument("--sort", choices=SORTS, default="-created_at", metavar="ORDER", help=", ".join(SORTS))
    everyone.add_argument("--limit", type=_lines, default=50, metavar="N", help="at most so many (default 50)")
    show = _command(users, "show", "one of them, and how he signs in", "people", "show")
    create = _command(
        users, "create", "make one; the password has to be changed at the first sign-in", "people", "create"
    )
    create.add_argument("username", metavar="NAME")
    create.add_argument("--email")
    create.add_argument("--full-name")
    create.add_argument("--role", action="append", default=[], metavar="NAME", help="can be said more than once")
    how = create.add_mutually_exclusive_group()
    how.add_argument("--password-stdin", action="store_true", help="read it from standard input; else one is made")
    how.add_argument("--invite", action="store_true", help="no password: an invitation is mailed")
    activate = _command(users, "activate", "let somebody sign in again", "people", "activate")
    deactivate = _command(users, "deactivate", "sign somebody out, and let him in no more", "people", "deactivate")
    for command in (show, activate, deactivate):
        command.add_argument("name_or_id", metavar="NAME_OR_ID", help="id:7 where 7 is somebody's name as well")
    for command in (activate, deactivate):
        command.add_argument("--reason", metavar="TEXT", help="for the audit trail")
    for command in (everyone, show, create, activate, deactivate):
        _with_settings(command)
        _with_json(command)


def _rights(commands: Commands) -> None:
    roles = _group(commands, "roles", "roles and what they allow")
    everything = _command(roles, "list", "which there are", "roles", "everything")
    show = _command(roles, "show", "what one allows", "roles", "show")
    create = _command(roles, "create", "make one; a permission comes into being by being named", "roles", "create")
    change = _command(roles, "change", "what it allows, and what it is called; seen at once", "roles", "change")
    delete = _command(roles, "delete", "delete one, and take it from whoever has it", "roles", "delete")
    for command in (show, create, change, delete):
        command.add_argument("name", metavar="NAME")
    for command in (create, change):
        command.add_argument("--description", metavar="TEXT", help="for people")
        _with_permissions(command, "--allow", "as orders:read")
    change.add_argument("--rename", metavar="NEW", help="its new name")
    _with_permissions(change, "--disallow", "which it no longer allows")
    for command in (everything, show, create, change, delete):
        _with_settings(command)
        _with_json(command)


def _with_permissions(command: argparse.ArgumentParser, name: str, meaning: str) -> None:
    command.add_argument(
        name, action="append", default=[], metavar="PERMISSION", help=f"{meaning}; can be said more than once"
    )


def _signed_in(commands: Commands) -> None:
    sessions = _group(commands, "sessions", "who is signed in")
    end = _command(sessions, "end", "sign out whose sessions fit all that is said", "sessions", "end")
    end.add_argument("--user", metavar="NAME_OR_ID", help="of this user")
    end.add_argument("--ip", metavar="NETWORK", help="from this address, or this network (CIDR)")
    end.add_argument("--device", metavar="PART", help="whose device, or user agent, has this in its name")
    end.add_argument("--created-before", metavar="TIME", help="signed in before this (2026-01-05T09:30:00Z)")
    end.add_argument("--created-after", metavar="TIME", help="signed in at this time or after it")
    end.add_argument("--factor", metavar="WORD", help="signed in this way: pwd, otp, pop, user, mfa, fed, offline")
    end.add_argument("--all", action="store_true", help="everybody, where nothing else is said")
    end.add_argument("--dry-run", action="store_true", help="only say how many there are")
    _with_settings(end)
    _with_json(end)


def _services(commands: Commands) -> None:
    clients = _group(commands, "clients", "other services that may ask about tokens")
    add = _command(clients, "add", "make one; its secret is shown once", "clients", "add")
    add.add_argument("name", metavar="NAME", help="what you call it")
    everyone = _command(clients, "list", "which there are", "clients", "everyone")
    remove = _command(clients, "remove", "remove one; its secret is refused at once", "clients", "remove")
    remove.add_argument("name_or_id", metavar="NAME_OR_ID")
    for command in (add, everyone, remove):
        _with_settings(command)
        _with_json(command)


def _group(commands: Commands, name: str, purpose: str) -> Commands:
    group = commands.add_parser(name, help=purpose, description=purpose)
    return group.add_subparsers(required=True, metavar="COMMAND", title="commands")


def _command(
    commands: Commands, name: str, purpose: str, module: str, function: str = "run"
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=purpose, description=purpose)
    command.set_defaults(module=module, function=function)
    return command


def _with_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--env-file",
        type=Path,
        default=Path(".env"),
        metavar="FILE",
        help="settings that the environment lacks (default .env)",
    )


def _with_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")


def _port(text: str) -> int:
    return _whole(text, 65535)


def _workers(text: str) -> int:
    return _whole(text, 256)


def _lines(text: str) -> int:
    return _whole(text, MOST_LINES)


def _whole(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"has to be a whole number from 1 to {most}")
    return int(text)
