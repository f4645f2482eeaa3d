"""Passwords on the command line: made by us, or read from standard input, never an argument, which all can see."""

import getpass
import secrets
import sys

from app.cli.refusal import NoPassword

ALPHABET = "23456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"  # nothing that looks like something else
LENGTH = 23  # characters, 5.8 bits each: 133 bits, and ASVS 5.0 (11.5.1) asks 128


def generated() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def from_stdin() -> str:
    """The first line; asked for where a person types.

    Raises:
        NoPassword: nothing came.
    """
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise NoPassword
    return password
