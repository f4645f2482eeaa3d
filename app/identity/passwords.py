"""Passwords: argon2id in threads of its own, no more of it queued than can be done soon, and what makes one good."""

import asyncio
import base64
import os
import secrets
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import HashingError

from app.errors import Overloaded, ValidationFailed, WeakPassword
from app.identity import stored_hashes
from app.identity.stored_hashes import HashRefused
from app.settings import Settings

log = structlog.get_logger(__name__)
T = TypeVar("T")

DEADLINE = 0.8  # seconds of work that may be queued, and that anyone waits: whoever is refused knows within one
ASSUMED_SECONDS = 0.025  # what a hash takes until this process knows: argon2-cffi's wheel on a slow core
WEIGHT = 0.1  # of the newest hash in the running average: it follows a change of pace within some 20 hashes
NICENESS = 5  # added to that of the event loop, which so gets thrice the weight where both want the core

SALT_BYTES, DIGEST_BYTES = 16, 32  # RFC 9106 §3.1; 256 bits of digest

MAX_LENGTH = 1024  # characters
MOST_CODE_POINTS = 4 * MAX_LENGTH  # before NFC, which is quadratic in marks: 25 ms for as many, 3 s for 65,536
CONTAINED = 4  # characters of a name that a password may not contain; a shorter one is found in half of all words
SCORED = 24  # characters that zxcvbn looks at: 0.2 s at worst, where 72 of leetspeak take 2.2 s of the interpreter
MIN_SCORE = 2  # of 4: more than a million guesses
CONTEXT = "gatehouse"  # the service's own name is the first that comes to mind

ZXCVBN = threading.Lock()  # it keeps the names of the call under way in a global of its own


class Passwords:
    """Hashes, verifies and judges passwords; whatever cannot be begun within DEADLINE is refused, most of it at once.

    `threads` is what there is, `busy` what is at work, and `queued` what waits.
    """

    def __init__(self, settings: Settings, *, workers: int = 1) -> None:
        self.threads = max(1, int(cores() / (workers * settings.argon2_parallelism)))
        self.queued = 0
        self.busy = 0
        self._min_length = settings.password_min_length
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
            salt_len=SALT_BYTES,
            hash_len=DIGEST_BYTES,
        )
        self._dummy = _unmatchable(self._hasher)
        self._seconds = ASSUMED_SECONDS  # of work, as a running average
        self._counting = threading.Lock()
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="password", initializer=_step_back)
        self._stopped = False

    async def stop(self) -> None:
        """Refuse what is queued and what comes, and let the threads finish."""
        self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._pool.shutdown)

    async def hash(self, password: str) -> str:
        """The password's hash in PHC format.

        Raises:
            Overloaded: there is more to do than can be done soon.
            ValidationFailed: this is no text that can be encoded, or is longer than any password may be.
        """
        return await self._run(lambda: self._hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether this is the password; without a hash (nobody, or nobody with a password) it takes as long to say no.

        Raises:
            Overloaded: there is more to do than can be done soon.
        """
        return await self._run(lambda: self._verify(password_hash, password))

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than today's, or by something else."""
        try:
            return self._hasher.check_needs_rehash(password_hash)
        except ValueError:
            return True

    def importable(self, password_hash: str) -> None:
        """Refuse a hash that others have made unless it can be verified here, at a cost that anybody would ask.

        Raises:
            ValidationFailed: and why, without a word of the hash.
        """
        try:
            stored_hashes.read(password_hash, self._hasher)
        except HashRefused as refused:
            raise ValidationFailed(("password_hash", str(refused))) from None

    async def check_strength(
        self, password: str, *, username: str, email: str | None, full_name: str | None, field: str = "password"
    ) -> None:
        """Refuse a password that others would guess (NIST SP 800-63B-4 §3.1.1.2, with zxcvbn for its blocklist).

        Raises:
            WeakPassword: and why, without a word of the password.
            ValidationFailed: this is no text, or there is a NUL in it.
            Overloaded: there is more to do than can be done soon.
        """
        names = [name for name in (username, (email or "").partition("@")[0]) if name]
        hints = [*names, *(email or "").partition("@")[2].split("."), *(full_name or "").split(), CONTEXT]
        await self._run(lambda: _judge(password, self._min_length, names, hints, field))

    # ---- the queue ------------------------------------------------------------------------------------------------

    async def _run(self, work: Callable[[], T]) -> T:
        """Do the work in a thread, if one takes it up in time; a caller who has gone takes it along."""
        job = self._submit(work)
        future = asyncio.wrap_future(job)
        try:
            await asyncio.wait((future,), timeout=DEADLINE)
            if job.cancel():  # it still waited for a thread, or `stop` has refused it
                raise Overloaded
            return await future
        finally:
            future.cancel()  # and with it the job, unless a thread is at it

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        if self._stopped or self.queued * self._seconds / self.threads >= DEADLINE:
            raise Overloaded
        with self._counting:
            self.queued += 1
        job = self._pool.submit(self._timed, work)
        job.add_done_callback(self._left)
        return job

    def _left(self, job: Future[T]) -> None:
        if job.cancelled():
            with self._counting:
                self.queued -= 1

    def _timed(self, work: Callable[[], T]) -> T:
        with self._counting:
            self.queued -= 1
            self.busy += 1
        started = time.perf_counter()
        try:
            return work()
        finally:
            with self._counting:
                self.busy -= 1
                self._seconds += WEIGHT * (time.perf_counter() - started - self._seconds)

    # ---- in a thread ----------------------------------------------------------------------------------------------

    def _hash(self, password: str) -> str:
        try:
            return self._hasher.hash(_secret(password))
        except HashingError as error:
            raise Overloaded from error
        except ValueError:
            raise ValidationFailed(("password", "is no text that can be a password")) from None

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            secret = _secret(password)
        except ValueError:  # nobody has such a password
            secret, stored, password = b"", None, ""
        secrets = [secret]
        if stored is not None and password.encode() != secret and self.needs_rehash(stored):
            secrets.append(password.encode())  # others hash what a keyboard sends as it comes
        matches = None if stored is None else self._matches(stored, secrets)
        if matches is None:
            self._matches(self._dummy, [secret])
            return False
        return matches

    def _matches(self, stored: str, secrets: Iterable[bytes]) -> bool | None:
        """None, and a line in the log, if the hash cannot be read or costs more than anybody would ask."""
        try:
            return any(map(stored_hashes.read(stored, self._hasher), secrets))
        except HashRefused as refused:
            log.warning("password.hash_refused", reason=str(refused))
        return None


def _secret(password: str) -> bytes:
    """The bytes that are hashed: NFC, so that a password is the same on every keyboard (RFC 8265 §4.2.2).

    Raises:
        ValueError: too long by far, with a surrogate that stands alone, or with a NUL (HMAC and bcrypt would read some
            of these as another password).
    """
    if len(password) > MOST_CODE_POINTS or "\0" in password:
        raise ValueError
    return unicodedata.normalize("NFC", password).encode()


def _unmatchable(hasher: PasswordHasher) -> str:
    """A hash of nothing: to verify against it costs what any other costs, and it never matches."""
    salt, digest = (_phc_base64(secrets.token_bytes(n)) for n in (SALT_BYTES, DIGEST_BYTES))
    return f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"


def _phc_base64(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode()


def _judge(password: str, min_length: int, names: Iterable[str], hints: Iterable[str], field: str) -> None:
    if "\0" in password:
        raise ValidationFailed((field, "may not contain the NUL character"))
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise ValidationFailed((field, "contains half of a surrogate pair"))
    if len(password) <= MOST_CODE_POINTS:
        password = unicodedata.normalize("NFC", password)
    if len(password) < min_length:
        raise WeakPassword(f"The password has to have at least {min_length} characters.", field)
    if len(password) > MAX_LENGTH:
        raise WeakPassword(f"The password may have at most {MAX_LENGTH} characters.", field)
    plain = password.casefold()
    for name in (unicodedata.normalize("NFC", name).casefold() for name in names):
        if plain == name or (len(name) >= CONTAINED and name in plain):
            raise WeakPassword("The password may not contain the username or the e-mail address.", field)
    _score(password, hints, field)


def _score(password: str, hints: Iterable[str], field: str) -> None:
    # Here, because it takes 55 ms and 14 MB (its word lists), which only a process that sets passwords should spend.
    from zxcvbn import zxcvbn  # type: ignore[import-untyped]  # noqa: PLC0415

    with ZXCVBN:
        found = zxcvbn(password[:SCORED], user_inputs=list(hints))
    if found["score"] < MIN_SCORE:  # its advice consists of sentences of its own, none of which quotes the password
        advice = [found["feedback"]["warning"], *found["feedback"]["suggestions"]]
        raise WeakPassword(" ".join(["The password is too easy to guess.", *filter(None, advice)]), field)


# ---- the cores ----------------------------------------------------------------------------------------------------


def _step_back() -> None:
    """Lower the priority of the calling thread; Linux alone counts it by thread, elsewhere it would be the process."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)


def cores(root: Path = Path("/")) -> float:
    """The cores this process may use: its affinity, and its container's quota; `os.cpu_count()` would be the node's."""
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min([float(affinity), *_quotas(root)])


def _quotas(root: Path) -> Iterable[float]:
    """The quota of each cgroup, v1 or v2, that holds this process; a container sees its own at the mount itself."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            top = mount / "cpu" if controllers else mount
            group = top / path.strip("/")
            while group.is_relative_to(top):
                yield from _quota(group)
                group = group.parent


def _quota(group: Path) -> Iterable[float]:
    words = _read(group / "cpu.max") or f"{_read(group / 'cpu.cfs_quota_us')} {_read(group / 'cpu.cfs_period_us')}"
    with suppress(ValueError):  # "max", or no such file
        granted, period = (int(word) for word in words.split())
        if granted > 0 and period > 0:  # -1 is no limit in v1
            yield granted / period


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
