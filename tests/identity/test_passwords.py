"""Hashing and verifying passwords: what a caller of `Passwords` can rely on."""

import unicodedata

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import HashingError, VerificationError
from argon2.low_level import Type, error_to_str

from app.errors import Overloaded, ValidationFailed
from app.identity.passwords import Passwords
from app.settings import Settings


async def test_a_password_is_verified_by_its_hash_and_no_other_is(passwords: Passwords) -> None:
    password_hash = await passwords.hash("correct horse")

    assert await passwords.verify(password_hash, "correct horse")
    assert not await passwords.verify(password_hash, "Correct horse")


async def test_a_hash_is_argon2id_in_phc_format_with_the_parameters_of_the_settings() -> None:
    passwords = Passwords(Settings(argon2_memory_kib=128, argon2_time_cost=3, argon2_parallelism=2))
    try:
        password_hash = await passwords.hash("correct horse")
    finally:
        await passwords.stop()

    parameters = extract_parameters(password_hash)
    assert password_hash.startswith("$argon2id$v=19$m=128,t=3,p=2$")
    assert (parameters.type, parameters.salt_len, parameters.hash_len) == (Type.ID, 16, 32)


async def test_what_a_hash_costs_by_default_is_what_owasp_asks() -> None:
    """OWASP ASVS 5.0.0, appendix C: 19 MiB at two passes."""
    settings = Settings()

    assert (settings.argon2_memory_kib, settings.argon2_time_cost) >= (19456, 2)


@pytest.mark.parametrize(
    ("password", "other"),
    [
        ("x" * 1023 + "a", "x" * 1023 + "b"),
        ("x" * 72 + "a", "x" * 72 + "b"),  # bcrypt would see no difference
        ("correct horse", "correct horse "),
        ("correct horse", " correct horse"),
        ("correct  horse", "correct horse"),
    ],
)
async def test_every_character_of_a_password_counts(passwords: Passwords, password: str, other: str) -> None:
    password_hash = await passwords.hash(password)

    assert await passwords.verify(password_hash, password)
    assert not await passwords.verify(password_hash, other)


async def test_equal_passwords_have_different_hashes(passwords: Passwords) -> None:
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_a_password_is_the_same_however_a_keyboard_composes_it(passwords: Passwords) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Schöne Grüße") for form in ("NFC", "NFD"))
    password_hash = await passwords.hash(decomposed)

    assert composed != decomposed
    assert await passwords.verify(password_hash, composed)


async def test_without_a_hash_the_answer_is_no_and_costs_the_same(passwords: Passwords, verified: list[str]) -> None:
    known = await passwords.hash("correct horse")

    assert not await passwords.verify(None, "correct horse")
    assert not await passwords.verify(known, "wrong horse")
    assert [extract_parameters(stored) for stored in verified] == [extract_parameters(known)] * 2


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "x",
        "plain text",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=64,t=1,p=1$!!!!$????",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$",
        "$argon2id$v=19$m=64,t=1,p=1",
        "$argon2id$v=19$m=sixty,t=1,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$ümläut",
        "$argon2id$v=19$m=-64,t=1,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0",
    ],
)
async def test_a_hash_that_cannot_be_read_matches_nothing(passwords: Passwords, stored: str) -> None:
    assert not await passwords.verify(stored, "correct horse")
    assert passwords.needs_rehash(stored)


@pytest.mark.parametrize(
    ("memory", "time", "lanes", "extra"),
    [
        (4_194_304, 1, 1, ""),  # 4 GiB
        (262_144, 100, 1, ""),
        (64, 100_000_000, 1, ""),
        (65_536, 1, 4096, ""),
        (64, 1, 1, "A" * 1000),
    ],
)
async def test_a_hash_that_costs_too_much_is_never_run(
    passwords: Passwords, verified: list[str], memory: int, time: int, lanes: int, extra: str
) -> None:
    stored = f"$argon2id$v=19$m={memory},t={time},p={lanes}$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0{extra}"

    assert not await passwords.verify(stored, "correct horse")
    assert verified == [passwords._dummy]


async def test_a_hash_of_stronger_settings_is_still_verified_and_due_for_renewal(passwords: Passwords) -> None:
    stronger = PasswordHasher(memory_cost=1024, time_cost=3, parallelism=2).hash("correct horse")

    assert await passwords.verify(stronger, "correct horse")
    assert passwords.needs_rehash(stronger)
    assert not passwords.needs_rehash(await passwords.hash("correct horse"))


@pytest.mark.parametrize("password", ["lone \ud800 surrogate", "a\0b", "x" * 5000])
async def test_what_cannot_be_a_password_is_not_hashed_and_matches_nothing(passwords: Passwords, password: str) -> None:
    stored = await passwords.hash("correct horse")

    assert not await passwords.verify(stored, password)
    with pytest.raises(ValidationFailed) as refused:
        await passwords.hash(password)
    assert password not in str(refused.value.members)


@pytest.mark.parametrize("code", [-22, -33])
async def test_no_memory_for_a_hash_is_no_verdict_on_the_password(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    stored = await passwords.hash("correct horse")

    def exhausted(error: Exception) -> None:
        raise error

    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: exhausted(VerificationError(error_to_str(code))))
    monkeypatch.setattr(PasswordHasher, "hash", lambda *_: exhausted(HashingError(error_to_str(code))))

    with pytest.raises(Overloaded):
        await passwords.verify(stored, "correct horse")
    with pytest.raises(Overloaded):
        await passwords.hash("correct horse")


async def test_a_hash_that_argon2_itself_cannot_read_matches_nothing(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await passwords.hash("correct horse")

    def unreadable(*_: object) -> None:
        raise VerificationError(error_to_str(-32))  # ARGON2_DECODING_FAIL

    monkeypatch.setattr(PasswordHasher, "verify", unreadable)

    assert not await passwords.verify(stored, "correct horse")
