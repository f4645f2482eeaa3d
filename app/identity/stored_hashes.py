"""Stored hashes, our own and those that others have made: which are run, and how each is compared.

A hash may come by an import, so each kind has ceilings: what is above them is not run, whoever asks. The times beside
them are those of a core that takes 22 ms for our own hash.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Container, Mapping
from functools import partial
from hmac import compare_digest

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError, VerifyMismatchError
from argon2.low_level import error_to_str

from app.errors import Overloaded

Matches = Callable[[bytes], bool]  # whether a hash is that of this secret, in which there is no NUL; runs for long

LONGEST = 512  # characters; ours have 97, Django's scrypt some 140

ARGON2_KIB = 262_144  # 256 MiB is libsodium's "moderate"; our own setting may be higher
ARGON2_PASSES = 4  # over as much memory: 0.9 s on one lane
ARGON2_STARTS = 256  # passes times lanes: each starts four threads, which little memory does not show
ARGON2_OWN = 4  # times our own setting are allowed as well: who lowers it to a quarter locks nobody out
ARGON2_LANES = 64  # each is a thread, and as many are the most that ARGON2_PARALLELISM takes
ARGON2_LANE_KIB = 8  # a lane has at least (RFC 9106 §3.1): four slices of two blocks
ARGON2_SALT, ARGON2_DIGEST = 8, 16  # bytes at least (RFC 9106 §3.1; a digest of 4, which it allows, can be guessed)
EXHAUSTED = (error_to_str(-22), error_to_str(-33))  # ARGON2_MEMORY_ALLOCATION_ERROR, ARGON2_THREAD_FAIL

BCRYPT_COSTS = range(4, 15)  # 14 takes 0.9 s, and each one more twice as long; 4 KiB
BCRYPT_BYTES = 72  # of a password count; whoever made the hash cut off the rest
BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

SCRYPT_BYTES = 134_217_728  # 128 MiB: N=2^17, r=8 is the most that OWASP's cheat sheet asks for
SCRYPT_WORK = 2_097_152  # N·r·p: twice as much, 0.8 s
SCRYPT_BLOCKS = 16_384  # r·p; each takes a microsecond of PBKDF2 that N does not show

PBKDF2_ITERATIONS = 2_000_000  # SHA-512: 1.0 s, the others 0.5 s; Django 5.2 and Werkzeug 3.1 make 1,000,000
PBKDF2_DIGESTS = {"sha1": 20, "sha256": 32, "sha512": 64}  # bytes: one block, as each of the three writes it

UNREADABLE = "cannot be read as a hash of its kind"

NUMBER = r"([1-9][0-9]*)"
TEXT = r"([!-#%-~]+)"  # ASCII that prints, without "$"
BASE64 = r"([A-Za-z0-9+/]+)"
HEX = r"((?:[0-9a-f]{2})+)"
ARGON2 = re.compile(rf"\$argon2(?:id|i|d)\$(?:v=(?:16|19)\$)?m={NUMBER},t={NUMBER},p={NUMBER}\${BASE64}\${BASE64}")
BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})")
PHC_SCRYPT = re.compile(rf"\$scrypt\$ln={NUMBER},r={NUMBER},p={NUMBER}\${BASE64}\${BASE64}")
DJANGO_SCRYPT = re.compile(rf"scrypt\${NUMBER}\${TEXT}\${NUMBER}\${NUMBER}\${BASE64}==")
WERKZEUG_SCRYPT = re.compile(rf"scrypt:{NUMBER}:{NUMBER}:{NUMBER}\${TEXT}\${HEX}")
PASSLIB_PBKDF2 = re.compile(rf"\$pbkdf2(|-sha256|-sha512)\${NUMBER}\$([A-Za-z0-9./]+)\$([A-Za-z0-9./]+)")
DJANGO_PBKDF2 = re.compile(rf"pbkdf2_(sha1|sha256)\${NUMBER}\${TEXT}\${BASE64}=")
WERKZEUG_PBKDF2 = re.compile(rf"pbkdf2:(sha1|sha256|sha512):{NUMBER}\${TEXT}\${HEX}")


class HashRefused(ValueError):
    """A hash that is not run, and why; nothing of it is quoted."""


def read(stored: str, hasher: PasswordHasher) -> Matches:
    """What compares a secret with this hash; it may raise Overloaded, for want of memory.

    Raises:
        HashRefused: the hash is of no kind that is known here, cannot be read, or costs too much.
    """
    if len(stored) > LONGEST:
        raise HashRefused(f"has more than {LONGEST} characters")
    if stored.startswith(("$argon2", "argon2$")):
        return _argon2(stored.removeprefix("argon2"), hasher)
    for prefix, reader in READERS.items():
        if stored.startswith(prefix):
            return reader(stored)
    raise HashRefused("is of no kind that is known here (argon2, bcrypt, scrypt, PBKDF2)")


# ---- argon2 -------------------------------------------------------------------------------------------------------


def _argon2(stored: str, hasher: PasswordHasher) -> Matches:
    *costs, salt, digest = _parts(ARGON2, stored)
    memory, passes, lanes = (int(cost) for cost in costs)
    own = hasher.memory_cost
    if (
        lanes > ARGON2_LANES
        or memory > max(ARGON2_KIB, ARGON2_OWN * own)
        or passes * lanes > max(ARGON2_STARTS, hasher.time_cost * hasher.parallelism)
        or memory * passes > max(ARGON2_KIB * ARGON2_PASSES, ARGON2_OWN * own * hasher.time_cost)
    ):
        raise HashRefused(f"costs too much: argon2 with {ARGON2_PASSES} passes over {ARGON2_KIB} KiB is the most")
    if memory < ARGON2_LANE_KIB * lanes or len(_base64(salt)) < ARGON2_SALT or len(_base64(digest)) < ARGON2_DIGEST:
        raise HashRefused(UNREADABLE)
    return partial(_is_argon2, hasher, stored)


def _is_argon2(hasher: PasswordHasher, stored: str, secret: bytes) -> bool:
    try:
        return hasher.verify(stored, secret)
    except VerifyMismatchError:
        return False
    except VerificationError as error:
        if str(error) in EXHAUSTED:
            raise Overloaded from error
        raise HashRefused(UNREADABLE) from error


# ---- bcrypt -------------------------------------------------------------------------------------------------------


def _bcrypt(stored: str) -> Matches:
    cost, salt, digest = _parts(BCRYPT, stored)
    if int(cost) >= BCRYPT_COSTS.stop:
        raise HashRefused(f"costs too much: bcrypt of cost {BCRYPT_COSTS[-1]} is the most")
    if int(cost) < BCRYPT_COSTS.start:
        raise HashRefused(UNREADABLE)
    # Four bits of the last character mean nothing; the library refuses them, and others have written them.
    last = BCRYPT_ALPHABET[BCRYPT_ALPHABET.index(salt[-1]) & 0b110000]
    return partial(_is_bcrypt, f"$2b${cost}${salt[:-1]}{last}".encode(), digest.encode())


def _is_bcrypt(salt: bytes, digest: bytes, secret: bytes) -> bool:
    return compare_digest(bcrypt.hashpw(secret[:BCRYPT_BYTES], salt)[-len(digest) :], digest)


def _django_bcrypt(stored: str) -> Matches:
    return _bcrypt(stored.removeprefix("bcrypt$"))


def _django_bcrypt_sha256(stored: str) -> Matches:
    matches = _bcrypt(stored.removeprefix("bcrypt_sha256$"))
    return lambda secret: matches(hashlib.sha256(secret).hexdigest().encode())


# ---- scrypt -------------------------------------------------------------------------------------------------------


def _phc_scrypt(stored: str) -> Matches:
    log_n, r, p, salt, digest = _parts(PHC_SCRYPT, stored)
    n = 1 << min(int(log_n), 64)  # far above the ceiling; a number of 400 digits would take all memory there is
    return _scrypt(n, r, p, _base64(salt), _base64(digest), (32, 64))  # passlib's; others write as much as Django


def _django_scrypt(stored: str) -> Matches:
    n, salt, r, p, digest = _parts(DJANGO_SCRYPT, stored)
    return _scrypt(int(n), r, p, salt.encode(), _base64(digest), (64,))


def _werkzeug_scrypt(stored: str) -> Matches:
    n, r, p, salt, digest = _parts(WERKZEUG_SCRYPT, stored)
    return _scrypt(int(n), r, p, salt.encode(), bytes.fromhex(digest), (64,))


def _scrypt(n: int, block_size: str, lanes: str, salt: bytes, digest: bytes, sizes: Container[int]) -> Matches:
    r, p = int(block_size), int(lanes)
    if 128 * n * r > SCRYPT_BYTES or n * r * p > SCRYPT_WORK or r * p > SCRYPT_BLOCKS:
        raise HashRefused("costs too much: scrypt with N=2^17, r=8, p=2, or as much, is the most")
    if n == 1 or n.bit_count() != 1 or n.bit_length() > 16 * r:  # RFC 7914 §2
        raise HashRefused(UNREADABLE)
    if len(digest) not in sizes:  # the beginning of a digest is that of a shorter one
        raise HashRefused(UNREADABLE)
    return partial(_is_scrypt, n, r, p, salt, digest)


def _is_scrypt(n: int, r: int, p: int, salt: bytes, digest: bytes, secret: bytes) -> bool:
    memory = 128 * r * (n + p + 2)  # bytes, as OpenSSL counts them
    try:
        found = hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=len(digest))
    except ValueError as error:  # "malloc failure": the parameters are right
        raise Overloaded from error
    return compare_digest(found, digest)


# ---- PBKDF2 -------------------------------------------------------------------------------------------------------


def _passlib_pbkdf2(stored: str) -> Matches:
    name, iterations, salt, digest = _parts(PASSLIB_PBKDF2, stored)
    salt, digest = salt.replace(".", "+"), digest.replace(".", "+")
    return _pbkdf2(name.removeprefix("-") or "sha1", iterations, _base64(salt), _base64(digest))


def _django_pbkdf2(stored: str) -> Matches:
    name, iterations, salt, digest = _parts(DJANGO_PBKDF2, stored)
    return _pbkdf2(name, iterations, salt.encode(), _base64(digest))


def _werkzeug_pbkdf2(stored: str) -> Matches:
    name, iterations, salt, digest = _parts(WERKZEUG_PBKDF2, stored)
    return _pbkdf2(name, iterations, salt.encode(), bytes.fromhex(digest))


def _pbkdf2(name: str, iterations: str, salt: bytes, digest: bytes) -> Matches:
    if int(iterations) > PBKDF2_ITERATIONS:
        raise HashRefused(f"costs too much: PBKDF2 with {PBKDF2_ITERATIONS} iterations is the most")
    if len(digest) != PBKDF2_DIGESTS[name]:
        raise HashRefused(UNREADABLE)
    return partial(_is_pbkdf2, name, int(iterations), salt, digest)


def _is_pbkdf2(name: str, iterations: int, salt: bytes, digest: bytes, secret: bytes) -> bool:
    return compare_digest(hashlib.pbkdf2_hmac(name, secret, salt, iterations), digest)


# ---- what they are written in -------------------------------------------------------------------------------------


def _parts(form: re.Pattern[str], stored: str) -> tuple[str, ...]:
    found = form.fullmatch(stored)
    if found is None:
        raise HashRefused(UNREADABLE)
    return found.groups()


def _base64(text: str) -> bytes:
    """The bytes of a text without padding; one text for one value, as argon2's own reader wants it."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise HashRefused(UNREADABLE) from None
    if base64.b64encode(raw).rstrip(b"=") != text.encode():
        raise HashRefused(UNREADABLE)
    return raw


READERS: Mapping[str, Callable[[str], Matches]] = {
    "$2": _bcrypt,
    "bcrypt$": _django_bcrypt,
    "bcrypt_sha256$": _django_bcrypt_sha256,
    "$scrypt$": _phc_scrypt,
    "scrypt$": _django_scrypt,
    "scrypt:": _werkzeug_scrypt,
    "$pbkdf2": _passlib_pbkdf2,
    "pbkdf2_": _django_pbkdf2,
    "pbkdf2:": _werkzeug_pbkdf2,
}
