"""Which passwords are taken, and what is said of those that are not."""

import pytest
from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]

from app.errors import ValidationFailed, WeakPassword
from app.identity.passwords import Passwords
from app.settings import Settings


async def check(passwords: Passwords, password: str, username: str = "ada", email: str | None = None) -> None:
    await passwords.check_strength(password, username=username, email=email, full_name="Ada Lovelace")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "zebra-lamp-42",
        "Grüße aus Köln!",
        "пароль-от-дачи",
        "密码是一个秘密的句子",
        "a" + "xq7!Kd" * 170,  # 1,021 characters
        "Adaptation 19 of it",  # a name of three letters is found in many words
    ],
)
async def test_a_good_password_is_taken(passwords: Passwords, password: str) -> None:
    await check(passwords, password)


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short7!",
        "password1",
        "12345678",
        "qwertyuiop",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "gatehouse1",
        "Lovelace1",
        "hunter2hunter2",
        "e\u0301" * 7,  # 14 code points, 7 characters
        "xq7!Kd" * 171,  # 1,026 characters
        "e\u0301" * 5000,
    ],
)
async def test_a_weak_password_is_refused_and_not_repeated(passwords: Passwords, password: str) -> None:
    with pytest.raises(WeakPassword) as refused:
        await check(passwords, password)

    shown = f"{refused.value.detail} {refused.value.members}"
    assert len(refused.value.detail) > len("The password")
    assert not password or password not in shown


async def test_none_of_the_passwords_that_leak_most_is_taken(passwords: Passwords) -> None:
    """The 3,000 that are long enough to be asked about (OWASP ASVS 5.0.0, V6.2.4)."""
    leaked = [password for password in FREQUENCY_LISTS["passwords"] if len(password) >= 8][:3000]
    assert len(leaked) == 3000

    for password in leaked:
        with pytest.raises(WeakPassword):
            await check(passwords, password)


@pytest.mark.parametrize(
    ("password", "username", "email"),
    [
        ("Grace-Hopper-9", "grace-hopper-9", None),
        ("xq7 GRACE.HOPPER kd9", "grace.hopper", None),
        ("xq7-rear.admiral-kd9", "grace", "Rear.Admiral@example.org"),
        ("xq7-stra\u00dfe-kd9", "STRASSE", None),
        ("xq7-ame\u0301lie-kd9", "am\u00e9lie", None),
    ],
)
async def test_a_password_may_not_contain_who_it_is_for(
    passwords: Passwords, password: str, username: str, email: str | None
) -> None:
    with pytest.raises(WeakPassword, match="username or the e-mail"):
        await check(passwords, password, username, email)


@pytest.mark.parametrize("password", ["nul \0 inside of it", "half a \udc80 character"])
async def test_what_is_no_text_is_no_password(passwords: Passwords, password: str) -> None:
    with pytest.raises(ValidationFailed):
        await check(passwords, password)


async def test_the_refusal_names_the_field_that_was_sent(passwords: Passwords) -> None:
    with pytest.raises(WeakPassword) as refused:
        await passwords.check_strength("x", username="ada", email=None, full_name=None, field="new_password")

    message = "The password has to have at least 8 characters."
    assert refused.value.members == {"errors": [{"field": "new_password", "message": message}]}


async def test_the_minimum_is_a_setting() -> None:
    passwords = Passwords(Settings(password_min_length=15))
    try:
        with pytest.raises(WeakPassword, match="at least 15"):
            await check(passwords, "zebra-lamp-42")
    finally:
        await passwords.stop()
