"""Hashes that other software has made: read and verified as it did, refused as bombs."""

import base64
import hashlib
import unicodedata
from contextlib import suppress

import msgspec
import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Overloaded, ValidationFailed
from app.identity.passwords import Passwords
from app.identity.stored_hashes import HashRefused, read
from app.settings import Settings
from tests.identity.hashkit import BCRYPT_TAIL, BOMBS, FOREIGN, LONG, PASSWORD, SALT, SHORT, each_kind
from tests.properties import by_no_clock


async def test_ours_is_run_once_however_a_password_comes(passwords: Passwords, verified: list[str]) -> None:
    ours = await passwords.hash(PASSWORD)

    assert not await passwords.verify(ours, unicodedata.normalize("NFD", PASSWORD.swapcase()))
    assert verified == [ours]


# ---- what is known from elsewhere ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "password"),
    [
        # RFC 7914 §12
        (
            (
                "scrypt:1024:8:16$NaCl$fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
            ),
            "password",
        ),
        (
            (
                "scrypt:16384:8:1$SodiumChloride$7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
                "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
            ),
            "pleaseletmein",
        ),
        # RFC 7914 §11
        (
            "pbkdf2:sha256:80000$NaCl$4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56",
            "Password",
        ),
        # RFC 6070 §2
        ("pbkdf2:sha1:4096$salt$4b007901b765489abead49d926f721d065a429c1", "password"),
        # The documents of passlib, and of PHP's crypt()
        ("$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E", "password"),
        ("$pbkdf2-sha256$29000$N2YMIWQsBWBMae09x1jrPQ$1t8iyB2A.WF/Z5JZv.lfCIhXXN33N23OSgQYThBYRfk", "toomanysecrets"),
        ("$2a$07$usesomesillystringfore2uDLvp1Ii2e./U9C8sBjqp8I90dH6hi", "rasmuslerdorf"),
        # The argon2 1.0 of the test suite of phc-winner-argon2, which wrote no version
        ("$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY", "password"),
    ],
)
async def test_known_vectors(passwords: Passwords, stored: str, password: str) -> None:
    passwords.importable(stored)

    assert await passwords.verify(stored, password)
    assert not await passwords.verify(stored, f"{password} ")
    assert passwords.needs_rehash(stored)


@pytest.mark.parametrize(("n", "r", "p"), [(2, 1, 1), (32_768, 1, 1), (2, 8, 64), (1024, 1, 3), (16, 64, 1)])
async def test_scrypt_has_the_memory_that_its_costs_take(passwords: Passwords, n: int, r: int, p: int) -> None:
    digest = hashlib.scrypt(b"password", salt=b"salt", n=n, r=r, p=p, maxmem=2**30, dklen=64)

    assert await passwords.verify(f"scrypt:{n}:{r}:{p}$salt${digest.hex()}", "password")
    phc = f"$scrypt$ln={n.bit_length() - 1},r={r},p={p}$c2FsdA${base64.b64encode(digest).decode().rstrip('=')}"
    assert await passwords.verify(phc, "password")


async def test_no_memory_for_scrypt_is_no_verdict_on_the_password(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> bytes:
        raise ValueError("[digital envelope routines] malloc failure")

    monkeypatch.setattr(hashlib, "scrypt", exhausted)

    with pytest.raises(Overloaded):
        await passwords.verify(FOREIGN["Werkzeug, scrypt"], PASSWORD)


# ---- bcrypt's own -------------------------------------------------------------------------------------------------


async def test_bcrypt_looks_at_72_bytes_and_cuts_through_a_letter(passwords: Passwords) -> None:
    stored = "$2b$04$abcdefghijklmnopqrstuu/eEui5rV2YQc8/aGz7xNkZm8E.ubv8O"  # of "x" and 36 times "ä" by bcrypt 4.0

    assert await passwords.verify(stored, "x" + 36 * "ä")
    assert await passwords.verify(stored, "x" + 36 * "ä" + "whatever")
    assert not await passwords.verify(stored, "x" + 35 * "ä")
    assert not await passwords.verify(stored, "y" + 36 * "ä")


async def test_a_salt_whose_last_bits_mean_nothing_is_the_same_salt(passwords: Passwords) -> None:
    stored = FOREIGN["passlib, bcrypt 2y"]
    assert stored[28] == "O"

    for character in "OPQdcb":
        assert await passwords.verify(stored[:28] + character + stored[29:], PASSWORD)
    assert not await passwords.verify(stored[:28] + "e" + stored[29:], PASSWORD)


@each_kind
async def test_no_other_password_is_read_into_one_with_a_nul(passwords: Passwords, stored: str) -> None:
    for password in (f"{PASSWORD}\0", f"{PASSWORD}\0{PASSWORD}", f"\0{PASSWORD}"):  # bcrypt takes the second, too
        assert not await passwords.verify(stored, password)


# ---- what is imported ---------------------------------------------------------------------------------------------


@each_kind
async def test_what_others_have_made_is_importable(passwords: Passwords, stored: str) -> None:
    passwords.importable(stored)


async def test_so_is_what_we_have_made_whatever_it_costs_here() -> None:
    dear = Passwords(Settings(argon2_memory_kib=300_000, argon2_time_cost=1))

    dear.importable(f"$argon2id$v=19$m=1200000,t=1,p=1${SALT}${SHORT}")
    with pytest.raises(ValidationFailed):
        dear.importable(f"$argon2id$v=19$m=1200001,t=1,p=1${SALT}${SHORT}")
    await dear.stop()


@pytest.mark.parametrize("stored", BOMBS)
async def test_a_bomb_is_refused_by_a_word_on_its_cost(passwords: Passwords, stored: str) -> None:
    assert refusal(passwords, stored).startswith("costs too much: ")


def refusal(passwords: Passwords, stored: str) -> str:
    with pytest.raises(ValidationFailed) as refused:
        passwords.importable(stored)
    assert not stored or stored not in str(refused.value.members)
    errors = msgspec.convert(refused.value.members["errors"], list[dict[str, str]])
    assert [error["field"] for error in errors] == ["password_hash"]
    return errors[0]["message"]


CEILINGS = [
    ("$2b${}$" + BCRYPT_TAIL, ("14",), ("15",)),
    ("$pbkdf2${}$" + f"{SALT}${27 * 'A'}", ("2000000",), ("2000001",)),
    ("$pbkdf2-sha256${}$" + f"{SALT}${SHORT}", ("2000000",), ("2000001",)),
    ("$pbkdf2-sha512${}$" + f"{SALT}${LONG}", ("2000000",), ("2000001",)),
    ("pbkdf2_sha256${}$salt$" + f"{SHORT}=", ("2000000",), ("2000001",)),
    ("pbkdf2:sha256:{}$salt$" + 64 * "0", ("2000000",), ("2000001",)),
    ("$scrypt$ln={},r={},p={}$" + f"{SALT}${SHORT}", ("17", "8", "2"), ("18", "8", "1")),
    ("$scrypt$ln={},r={},p={}$" + f"{SALT}${SHORT}", ("17", "8", "2"), ("17", "8", "3")),
    ("$scrypt$ln={},r={},p={}$" + f"{SALT}${SHORT}", ("17", "8", "2"), ("17", "9", "1")),
    ("$scrypt$ln={},r={},p={}$" + f"{SALT}${SHORT}", ("4", "1", "16384"), ("4", "1", "16385")),
    ("scrypt:{}:{}:{}$salt$" + 128 * "0", ("131072", "8", "2"), ("262144", "8", "1")),
    ("scrypt${}$salt${}${}$" + f"{LONG}==", ("131072", "8", "2"), ("131072", "8", "3")),
    ("$argon2id$v=19$m={},t={},p={}$" + f"{SALT}${SHORT}", ("262144", "4", "64"), ("262145", "1", "1")),
    ("$argon2id$v=19$m={},t={},p={}$" + f"{SALT}${SHORT}", ("262144", "4", "64"), ("262144", "5", "1")),
    ("$argon2id$v=19$m={},t={},p={}$" + f"{SALT}${SHORT}", ("262144", "4", "64"), ("4096", "1", "65")),
    ("$argon2id$v=19$m={},t={},p={}$" + f"{SALT}${SHORT}", ("16", "256", "1"), ("16", "129", "2")),
    ("argon2$argon2i$v=16$m={},t={},p={}$" + f"{SALT}${SHORT}", ("1024", "4", "64"), ("1024", "5", "64")),
]


@pytest.mark.parametrize(("form", "most", "more"), CEILINGS)
async def test_each_ceiling_is_where_it_is_said_to_be(
    passwords: Passwords, form: str, most: tuple[str, ...], more: tuple[str, ...]
) -> None:
    passwords.importable(form.format(*most))

    assert refusal(passwords, form.format(*more)).startswith("costs too much: ")


async def test_no_hash_is_longer_than_512_characters(passwords: Passwords) -> None:
    head, tail = "pbkdf2:sha1:1000$", "$f26e0b0353c9ec58c55e32ac0887b3eecf231e7c"
    longest = f"{head}{'s' * (512 - len(head) - len(tail))}{tail}"

    passwords.importable(longest)
    assert refusal(passwords, f"{head}s{longest.removeprefix(head)}") == "has more than 512 characters"


NUMBERS = [
    "0",
    "-1",
    "01",
    "010",
    "+8",
    "8.0",
    "1e1",
    " 8",
    "8 ",
    "0x8",
    "",
    "1_0",
    "\u0668",
    "\uff18",
    "1\uff18",
    "eight",
]


@pytest.mark.parametrize("number", [*NUMBERS, str(2**63), str(2**64), "9" * 400])
@pytest.mark.parametrize(
    "form",
    [
        "$2b${}$" + BCRYPT_TAIL,
        "$pbkdf2-sha256${}$" + f"{SALT}${SHORT}",
        "pbkdf2_sha256${}$salt$" + f"{SHORT}=",
        "pbkdf2:sha256:{}$salt$" + 64 * "0",
        "$scrypt$ln={},r=8,p=1$" + f"{SALT}${SHORT}",
        "$scrypt$ln=4,r={},p=1$" + f"{SALT}${SHORT}",
        "$scrypt$ln=4,r=8,p={}$" + f"{SALT}${SHORT}",
        "scrypt:{}:8:1$salt$" + 128 * "0",
        "scrypt${}$salt$8$1$" + f"{LONG}==",
        "$argon2id$v=19$m={},t=1,p=1$" + f"{SALT}${SHORT}",
        "$argon2id$v=19$m=64,t={},p=1$" + f"{SALT}${SHORT}",
        "$argon2id$v=19$m=64,t=1,p={}$" + f"{SALT}${SHORT}",
        "$argon2id$v={}$m=64,t=1,p=1$" + f"{SALT}${SHORT}",
    ],
)
async def test_a_number_that_is_none_or_absurd_is_refused(passwords: Passwords, form: str, number: str) -> None:
    assert refusal(passwords, form.format(number))


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "$",
        "x" * 512,
        "$2b$",
        f"$2b$03${BCRYPT_TAIL}",
        f"$2x$04${BCRYPT_TAIL}",
        f"$2$04${BCRYPT_TAIL}",
        f"$2b$04${BCRYPT_TAIL}\n",
        f"$2b$04${BCRYPT_TAIL[:-1]}ü",
        f"bcrypt$2b$04${BCRYPT_TAIL}",
        f"$scrypt$ln=4,p=1,r=8${SALT}${SHORT}",
        f"$scrypt$ln=4,r=8,p=1${SALT}$AAAA",
        f"$scrypt$ln=16,r=1,p=1${SALT}${SHORT}",  # RFC 7914 §2: N has to be below 2^(16r)
        f"scrypt:3:8:1$salt${'0' * 128}",
        f"scrypt:1:8:1$salt${'0' * 128}",
        f"scrypt:256:8:1$salt${'0' * 64}",
        f"scrypt:256:8:1$salt${'0' * 127}",
        f"scrypt:256:8:1$s\0lt${'0' * 128}",
        f"scrypt:256:8:1$s lt${'0' * 128}",
        f"scrypt:256:8:1$s\ud800lt${'0' * 128}",
        f"$pbkdf2-sha256$1000${SALT[:-1]}B${SHORT}",  # bits beyond the last byte
        f"$pbkdf2-sha256$1000$A${SHORT}",
        f"$pbkdf2-sha256$1000${SALT}${LONG}",
        f"$pbkdf2-md5$1000${SALT}$AAAA",
        f"pbkdf2_sha256$1000${SHORT}=",
        f"pbkdf2:sha256$salt${'0' * 64}",  # as many iterations as are the default of its maker's day
        f"pbkdf2:md5:1000$salt${'0' * 32}",
        f"$argon2id$v=18$m=64,t=1,p=1${SALT}${SHORT}",
        f"$argon2id$v=19$m=7,t=1,p=1${SALT}${SHORT}",
        f"$argon2id$v=19$m=64,t=1,p=9${SALT}${SHORT}",
        f"$argon2id$v=19$m=64,t=1,p=1$AAAA${SHORT}",
        f"$argon2id$v=19$m=64,t=1,p=1${SALT}$AAAA",
        f"$argon2id$v=19$m=64,t=1,p=1,keyid=AAAA${SALT}${SHORT}",
        f"$argon2x$v=19$m=64,t=1,p=1${SALT}${SHORT}",
        "!0123456789abcdefghijklmnopqrstuvwxyzABCD",  # Django's for nobody's password
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
    ],
)
async def test_what_is_no_hash_of_a_known_kind_is_refused(passwords: Passwords, stored: str) -> None:
    refusal(passwords, stored)

    assert not await passwords.verify(stored, PASSWORD)


@each_kind
async def test_what_was_cut_off_or_added_to_matches_nothing(passwords: Passwords, stored: str) -> None:
    for spoiled in [*(stored[:length] for length in range(len(stored))), f"{stored}\n", f"{stored}A", f" {stored}"]:
        assert not await passwords.verify(spoiled, PASSWORD), spoiled


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """A foreign hash with a part of it replaced."""
    stored = draw(st.sampled_from(list(FOREIGN.values())))
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(stored))] * 2)))
    return stored[:first] + draw(st.text(max_size=20) | st.text("0123456789$,=:-", max_size=20)) + stored[last:]


@by_no_clock
@given(st.text() | spoiled())
def test_whatever_is_stored_it_is_read_or_refused(stored: str) -> None:
    with suppress(HashRefused):
        read(stored, PasswordHasher())
