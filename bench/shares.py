"""A share of the cores for a process and its children, as a limit of Kubernetes holds a container to it."""

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.stack import refuse

MOUNT = Path("/sys/fs/cgroup")
PERIOD_MICROSECONDS = 10_000  # in which the share is given once; a tenth of Kubernetes' own, so that nobody waits long
LEAST = 0.1  # of a core: the kernel takes no quota below a millisecond a period
START = 1.0  # cores, until it is held to its share: Python's start takes two seconds of one
EMPTY_SECONDS = 5.0  # that the kernel may take to forget processes which have ended


class Share:
    """A cgroup of its own, of version 1 or 2, on one core of the machine."""

    def __init__(self, group: Path, cores: float, core: int) -> None:
        self.group = group
        self.cores = cores
        self.core = core

    def within(self, command: Sequence[str | Path]) -> list[str | Path]:
        """The command as it runs in here from its beginning, so that it counts its cores by what it finds."""
        enter = 'echo $$ > "$0" && exec taskset --cpu-list "$@"'
        return ["sh", "-c", enter, self.group / "cgroup.procs", str(self.core), *command]

    def hold(self, cores: float | None = None) -> None:
        """To the share, or to so many cores."""
        quota = round((cores or self.cores) * PERIOD_MICROSECONDS)
        if (self.group / "cpu.max").exists():
            (self.group / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
        else:
            (self.group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (self.group / "cpu.cfs_quota_us").write_text(str(quota))

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.group / "cgroup.procs").read_text().split()]


@contextmanager
def shares(number: int, cores: float, mount: Path = MOUNT) -> Iterator[list[Share]]:
    """So many shares, wide open until they hold; whoever cannot make them is told why, and nothing is measured.

    They are on the machine's cores in turn, each on one: its two threads, the loop and the one that hashes, which gives
    way to it, then want the same core, as on a machine full of replicas. With a core each they would spend the share at
    once, half of it on a hash.
    """
    if cores < LEAST:
        refuse(f"a share is {LEAST} of a core or more")
    parent = _parent(mount)
    name = f"gatehouse-bench-{secrets.token_hex(4)}"
    there = sorted(os.sched_getaffinity(0))
    made = [Share(parent / f"{name}-{each}", cores, there[each % len(there)]) for each in range(number)]
    try:
        try:
            for share in made:
                share.group.mkdir()
                share.hold(START)
        except OSError as error:
            refuse(f"no cgroup can be made that limits processors, which takes root and a writable {mount}: {error}")
        yield made
    finally:
        for share in made:
            _remove(share.group)


def _parent(mount: Path) -> Path:
    """Where groups that limit processors are made."""
    for first in ("cpu", "cpu,cpuacct"):
        if (mount / first / "cgroup.procs").exists():
            return mount / first
    if not _granted(mount):
        with suppress(OSError):
            (mount / "cgroup.subtree_control").write_text("+cpu")
    if not _granted(mount):
        refuse(f"{mount} gives no cgroup that limits processors, neither of version 1 nor of version 2")
    return mount


def _granted(mount: Path) -> bool:
    """Whether groups below this one of version 2 can limit processors."""
    try:
        return "cpu" in (mount / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError:
        return False


def _remove(group: Path) -> None:
    deadline = time.monotonic() + EMPTY_SECONDS
    while group.exists():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
