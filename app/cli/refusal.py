"""What a command says instead of doing its work: one line for the person at the terminal, and exit 1."""

from pathlib import Path


class Refused(Exception):
    """The line: what is wrong, and how to mend it; never a password or a key."""


class DirectoryUnusable(Refused):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used: {reason}")


class DirectoryNotOurs(Refused):
    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(f"{path} belongs to {owner}: run as that user, or name another --data-dir")


class DirectoryInUse(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is in use by another `gatehouse dev`: stop it, or name another --data-dir")


class SecretLost(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is empty: put back what it held, or remove its directory to start anew")


class PackageMissing(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(f"the package {name} is missing: pip install 'gatehouse[embedded]'")


class DoesNotStart(Refused):
    def __init__(self, name: str, words: str, log: Path) -> None:
        super().__init__(f"{name} does not start: {words} (all it said is in {log})")


class NotRunning(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not running")


class StatementRefused(Refused):
    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name} refused a statement: {words}")


class PortUnusable(Refused):
    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {reason}; free it, or name another --port")


class FileUnusable(Refused):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used: {reason}")


class NoRoomForFiles(Refused):
    def __init__(self, reason: str) -> None:
        super().__init__(f"no temporary directory can be made ({reason}): mount a writable one, and name it by TMPDIR")


class NothingToRotate(Refused):
    def __init__(self) -> None:
        super().__init__("with JWT_ALGORITHM=HS256 the key is JWT_SECRET: change that, everywhere at once")


class NoPassword(Refused):
    def __init__(self) -> None:
        super().__init__("no password came on standard input")


class NobodyToInvite(Refused):
    def __init__(self) -> None:
        super().__init__("an invitation is mailed: say --email as well")


class NobodyNamed(Refused):
    def __init__(self) -> None:
        super().__init__("say which sessions (gatehouse sessions end --help), or --all")


class NoServiceRole(Refused):
    def __init__(self, role: str, reason: str) -> None:
        super().__init__(f"nothing can be granted to {role}: {reason}")


class SchemaBehind(Refused):
    def __init__(self) -> None:
        super().__init__("the schema is older than this release: run `gatehouse migrate` first")


class NotRestored(Refused):
    def __init__(self) -> None:
        super().__init__(
            "nothing shows that these data are a copy, so nothing was ended; --anyway ends all the same (files or a "
            "disk were put back as they had been)"
        )


class NotTheOwner(Refused):
    def __init__(self) -> None:
        super().__init__("only the owner of the tables can say so: set DATABASE_URL to its, as for `gatehouse migrate`")


class NoGpustack(Refused):
    """There is no list of users to bring over."""

    def __init__(self) -> None:
        super().__init__("GPUSTACK_URL is not set: there is no GPUStack whose users could be brought over")
