"""Child processes that do not outlive us, and that run without root's rights where we are root."""

import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
# What a user other than root needs to reach a checkout under a root's home of mode 700. The first only lets read and
# traverse; a Docker container has the second alone.
REACHING = ("dac_read_search", "dac_override")


def account() -> pwd.struct_passwd | None:
    """Who runs the children where we are root: PostgreSQL refuses to run as root. None: we ourselves."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def spawn(command: Sequence[str | Path], directory: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that Ctrl-C reaches us alone and we can stop our children in order.

    It is interrupted when the thread that called this dies, where setpriv can arrange that.
    """
    prefix = _prefix()
    who = None if prefix else account()
    with log.open("wb") as out:
        return subprocess.Popen(  # noqa: S603 (our own programs, no shell)
            [*prefix, *command],
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=who and who.pw_uid,
            group=who and who.pw_gid,
            extra_groups=[] if who else None,
        )


def stop(process: subprocess.Popen[bytes], *signals: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn and wait as many seconds for it to work; in the end, kill."""
    for number, patience in signals:
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def free_port() -> int:
    """A port that nobody has just now; who starts on it may still find it taken."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def command_line(pid: int) -> str:
    """With which words a process was started; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        pass
    ps = shutil.which("ps")
    if ps is None or Path("/proc/self").exists():
        return ""
    command = [ps, "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 (as above)


def _environment() -> dict[str, str]:
    """Messages in English, because we read them, and nothing of ours: the environment may hold secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


@functools.cache
def _prefix() -> tuple[str, ...]:
    """The setpriv call that works here: its abilities and the container's rights differ."""
    setpriv = shutil.which("setpriv")
    true = shutil.which("true")
    if setpriv is None or true is None:
        return ()
    for flags in _flags():
        prefix = (setpriv, "--pdeathsig=INT", *flags)
        if subprocess.run([*prefix, true], capture_output=True, check=False).returncode == 0:  # noqa: S603 (as above)
            return prefix
    return ()


def _flags() -> Iterator[tuple[str, ...]]:
    who = account()
    if who is None:
        yield ()
        return
    drop = (f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups")
    for capability in REACHING:
        # Without no_setuid_fixup access(2), by which PostgreSQL looks for its own programs, ignores the capability.
        caps = (f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}")
        yield (*drop, "--securebits=+no_setuid_fixup", *caps)
    yield drop
