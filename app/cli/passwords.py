"""Passwords on the command line: made by us, or read from standard input, never an argument, which all can see."""

import argparse
import getpass
import secrets
import sys

from app.cli.refusal import NoPassword
from app.cli.terminal import answer

ALPHABET = "23456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"  # nothing that looks like something else
LENGTH = 23  # characters, 5.8 bits each: 133 bits, and ASVS 5.0 (11.5.1) asks 128


def generated() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def chosen(arguments: argparse.Namespace) -> str:
    """The one that comes on standard input, where that is said; else one of ours."""
    return from_stdin() if arguments.password_stdin else generated()


def tell(
    arguments: argparse.Namespace, user_id: int, username: str, password: str | None, note: str = "shown only now"
) -> None:
    """Whose it is. A password that came on standard input is known; one that we made is shown this once."""
    data: dict[str, object] = {"id": user_id, "username": username}
    lines = [f"id        {user_id}", f"username  {username}"]
    if password is not None and not arguments.password_stdin:
        data["password"] = password
        lines.append(f"password  {password}   ({note})")
    answer(arguments, data, *lines)


def from_stdin() -> str:
    """The first line; asked for where a person types.

    Raises:
        NoPassword: nothing came.
    """
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise NoPassword
    return password
