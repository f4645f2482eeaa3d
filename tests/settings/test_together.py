"""What no setting shows by itself: what another one asks for, and what production does."""

import pytest

from tests.settings.kit import OTHER_SECRET, REQUIRED, loaded, refused


def test_the_audience_is_the_public_url_unless_it_is_said_otherwise() -> None:
    assert loaded(PUBLIC_URL="https://a.example/").audience == "https://a.example"
    assert loaded(AUDIENCE="apps").audience == "apps"


def test_hs256_needs_a_secret_of_its_own() -> None:
    assert refused(REQUIRED | {"JWT_ALGORITHM": "HS256"}) == ["JWT_SECRET: is required with JWT_ALGORITHM=HS256"]
    for name in ("SECRET_KEY", "SECRET_KEY_PREVIOUS"):
        (line,) = refused(REQUIRED | {"JWT_ALGORITHM": "HS256", "JWT_SECRET": OTHER_SECRET, name: OTHER_SECRET})
        assert line.startswith("JWT_SECRET: has to differ from SECRET_KEY")

    assert loaded(JWT_ALGORITHM="HS256", JWT_SECRET=OTHER_SECRET).jwt_algorithm == "HS256"


def test_who_mail_is_from_has_to_be_said_where_it_is_sent() -> None:
    assert loaded(SMTP_URL="smtp://localhost", MAIL_FROM="Us <a@b.c>").mail_sender == ("Us", "a@b.c")

    (line,) = refused(REQUIRED | {"SMTP_URL": "smtp://localhost"})
    assert line.startswith("MAIL_FROM: is required with SMTP_URL")


@pytest.mark.parametrize(
    ("public_url", "domain"),
    [
        ("https://auth.example.org:8443/x", "auth.example.org"),
        ("http://localhost:8000", "localhost"),
        ("http://127.0.0.1:8000", "localhost"),
        ("http://[::1]:8000", "localhost"),
    ],
)
def test_in_development_mail_is_from_the_host_of_the_service(public_url: str, domain: str) -> None:
    settings = loaded(PUBLIC_URL=public_url, ENVIRONMENT="development", SMTP_URL="smtp://localhost")

    assert settings.mail_sender == ("Gatehouse", f"no-reply@{domain}")


def test_production_is_what_nobody_has_asked_otherwise() -> None:
    assert not loaded().development
    assert loaded(ENVIRONMENT="development").development


def test_plain_http_is_for_development() -> None:
    (line,) = refused(REQUIRED | {"PUBLIC_URL": "http://localhost:8000"})

    assert line == "PUBLIC_URL: has to begin with https:// in production"
    assert loaded(PUBLIC_URL="http://localhost:8000", ENVIRONMENT="development").public_url == "http://localhost:8000"


@pytest.mark.parametrize(
    "password",
    [
        "short-Zebra",
        "administrator",
        "Password-2026!",
        "boss12345678!",
        "abababababab",
        "Gatehouse-Zebra-9",
        "iloveyou1234",
        "1q2w3e4r5t6y",
    ],
)
def test_a_guessable_password_of_the_first_administrator_is_for_development(password: str) -> None:
    (line,) = refused(REQUIRED | {"ADMIN_USERNAME": "boss", "ADMIN_PASSWORD": password})

    assert line.startswith("ADMIN_PASSWORD: is ")
    assert password not in line
    assert loaded(ADMIN_PASSWORD=password, ADMIN_USERNAME="boss", ENVIRONMENT="development").admin_password == password


def test_the_password_of_the_first_administrator_is_as_long_as_others_have_to_be() -> None:
    (line,) = refused(REQUIRED | {"ADMIN_PASSWORD": "wombat-Ferry-41-lamp", "PASSWORD_MIN_LENGTH": "24"})

    assert line == "ADMIN_PASSWORD: is too short: at least 24 characters in production"
