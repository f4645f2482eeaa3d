"""What a worker is made ready with."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ARENAS = """
import ctypes
import sys
import threading
from app.cli import worker

PIECE = 100_000  # bytes: glibc's, and none of those small ones that Python has an arena of its own for

if sys.argv[1] == "one":
    worker.take_one_arena()
barrier = threading.Barrier(4)
kept = []

def take():
    barrier.wait()
    kept.append(bytes(PIECE))

threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
said = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, said)
libc.fclose(said)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such arenas")
def test_threads_share_one_arena(tmp_path: Path) -> None:
    """What one thread received and another keeps would move from arena to arena, and memory would grow by that."""

    def arenas(mode: str) -> int:
        told = tmp_path / f"{mode}.xml"
        subprocess.run([sys.executable, "-c", ARENAS, mode, told], check=True)
        return told.read_text(encoding="ascii").count("<heap nr=")

    assert arenas("own") > 1
    assert arenas("one") == 1
