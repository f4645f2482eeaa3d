"""Keeps the machine's cores awake while something is measured, so that they are as fast for little as for much.

A core that sleeps between two requests has to be woken for each, by the host where the machine is a virtual one, and is
clocked by what it did; one whose sibling in hardware sleeps has all of both. So what a request takes would go by how
full the machine is, and one replica, which leaves it half asleep, be faster than each of four.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SPIN = "while True: pass"


@contextmanager
def ballast() -> Iterator[list[int]]:
    """A process for each core that takes what nobody else wants (SCHED_IDLE); their numbers."""
    processes = []
    try:
        for core in sorted(os.sched_getaffinity(0)):
            process = subprocess.Popen([sys.executable, "-c", SPIN])  # noqa: S603 - ours
            processes.append(process)
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setaffinity(process.pid, {core})
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
