"""Private directories, kept secrets, and the lock that keeps two starts off the same data."""

import fcntl
import os
import pwd
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from app.cli.refusal import DirectoryInUse, DirectoryNotOurs, DirectoryUnusable, SecretLost

SECRET_BYTES = 36  # 288 bits, 48 characters of base64: over the 32 bytes that SECRET_KEY has to have


def private_directory(path: Path, owner: pwd.struct_passwd | None = None) -> Path:
    """Make it, readable by its owner alone; `owner` is us unless root makes it for somebody else.

    Raises:
        Refused: it cannot be made, or belongs to another user, whose data it then holds.
    """
    uid = os.geteuid() if owner is None else owner.pw_uid
    try:
        if not path.exists():
            path.mkdir(mode=0o700, parents=True)
            if owner is not None:
                os.chown(path, owner.pw_uid, owner.pw_gid)
        found = path.stat()
        if found.st_uid == uid and found.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise DirectoryUnusable(path, str(error.strerror)) from error
    if found.st_uid != uid:
        raise DirectoryNotOurs(path, name_of(found.st_uid))
    if not path.is_dir():
        raise DirectoryUnusable(path, "it is a file")
    return path


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def kept_secret(path: Path, owner: pwd.struct_passwd | None = None) -> str:
    """The secret in this file; a new one at the first start."""
    if not path.exists():
        replace(path, secrets.token_urlsafe(SECRET_BYTES), owner)
    secret = path.read_text().strip()
    if not secret:
        raise SecretLost(path)
    return secret


def replace(path: Path, text: str, owner: pwd.struct_passwd | None = None) -> None:
    """Write a private file, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if owner is not None:
        os.chown(new, owner.pw_uid, owner.pw_gid)
    new.rename(path)


@contextmanager
def locked(directory: Path) -> Generator[None]:
    """Hold the directory for this process; the kernel lets go of it however the process ends.

    By lockf, which a forked worker does not inherit: one that outlives us for a moment keeps no new start out.

    Raises:
        Refused: another process holds it.
    """
    with (directory / "lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DirectoryInUse(directory) from error
        yield
