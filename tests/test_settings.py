"""The settings: each read and checked, one clear line for each that is wrong, and no secret in any of them."""

import ipaddress
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from app import providers
from app.providers import Provider
from app.setting_values import Rate
from app.settings import PARSERS, InvalidSettings, Settings, load

EXAMPLE = Path(__file__).parents[1] / ".env.example"
SETTING = re.compile(r"^(# )?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)
SECRET = "p7Jq2sVx9Lr4Tz8Wb3Nc6Md1Kf5Hg0Ya"
OTHER_SECRET = "Zq4Xw8Ec2Rv6Tb0Yn5Um9Ik3Ol7Pj1Hg"
REQUIRED = {
    "PUBLIC_URL": "https://auth.example.org",
    "SECRET_KEY": SECRET,
    "DATABASE_URL": "postgresql://gatehouse:hunter2@db/gatehouse",
    "VALKEY_URL": "valkey://:hunter2@cache:6379/0",
}

TENANT = "0F0F0F0F-0000-4000-8000-000000000000"

GOOD: dict[str, list[tuple[str, Any]]] = {
    "ENVIRONMENT": [("development", "development"), ("Production", "production")],
    "PUBLIC_URL": [
        ("https://auth.example.org/", "https://auth.example.org"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://example.org/auth/", "https://example.org/auth"),
    ],
    "AUDIENCE": [("my-app", "my-app")],
    "SECRET_KEY": [(OTHER_SECRET, OTHER_SECRET), (f"  {OTHER_SECRET} ", OTHER_SECRET)],
    "SECRET_KEY_PREVIOUS": [(OTHER_SECRET, OTHER_SECRET)],
    "DATABASE_URL": [
        (url, url)
        for url in (
            "postgres://db/gatehouse",
            "postgresql:///gatehouse?host=/run/postgresql",
            "postgresql://one:5432,two:5433/gatehouse?target_session_attrs=read-write",
        )
    ],
    "DATABASE_POOL_SIZE": [("1", 1), ("1000", 1000)],
    "VALKEY_URL": [(url, url) for url in ("valkeys://cache", "redis://cache:6379", "rediss://[::1]:6379/1")],
    "JWT_ALGORITHM": [("ES256", "ES256"), ("eddsa", "EdDSA"), ("RS256", "RS256")],
    "JWT_SECRET": [(OTHER_SECRET, OTHER_SECRET)],
    "ACCESS_TOKEN_EXPIRE_MINUTES": [("1", 1), ("1440", 1440)],
    "REFRESH_TOKEN_EXPIRE_DAYS": [("1", 1), ("3650", 3650)],
    "REFRESH_GRACE_SECONDS": [("0", 0), ("300", 300)],
    "STRICT_REVOCATION": [("on", True), ("OFF", False)],
    "REGISTRATION": [("closed", "closed")],
    "PASSWORD_GRANT": [("off", False)],
    "PASSWORD_MIN_LENGTH": [("8", 8), ("128", 128)],
    "ARGON2_MEMORY_KIB": [("8192", 8192), ("4194304", 4194304)],
    "ARGON2_TIME_COST": [("1", 1), ("100", 100)],
    "ARGON2_PARALLELISM": [("1", 1), ("64", 64)],
    "RATE_LIMIT_LOGIN": [("1/1s", Rate(1, 1)), ("7/2d", Rate(7, 172800)), ("off", None), ("OFF", None)],
    "RATE_LIMIT_ACCOUNT": [("20/30m", Rate(20, 1800)), ("off", None)],
    "RATE_LIMIT_MFA": [("20/30m", Rate(20, 1800)), ("off", None)],
    "MFA_CODES_PER_LOGIN": [("1", 1), ("100", 100)],
    "RATE_LIMIT_REGISTER": [("5/2h", Rate(5, 7200)), ("off", None)],
    "RATE_LIMIT_FORGOT": [("5/2h", Rate(5, 7200)), ("off", None)],
    "RATE_LIMIT_FORGOT_IP": [("5/2h", Rate(5, 7200)), ("off", None)],
    "TRUSTED_PROXIES": [
        ("10.0.0.7, 2001:db8::/32", (ipaddress.ip_network("10.0.0.7/32"), ipaddress.ip_network("2001:db8::/32"))),
        ("10.1.2.3/8", (ipaddress.ip_network("10.0.0.0/8"),)),
        (",", ()),
    ],
    "CORS_ORIGINS": [
        ("https://App.example.org:443, http://localhost:5173", ("https://app.example.org", "http://localhost:5173")),
        ("http://[::1]:80,https://app.example.org:80", ("http://[::1]", "https://app.example.org:80")),
    ],
    "OUTBOUND_CA_FILE": [(str(EXAMPLE), EXAMPLE)],
    "REDIRECT_URIS": [
        (f"{uri}, https://b.example/", (uri, "https://b.example/"))
        for uri in (
            "https://app.example.org/cb?x=1",
            "http://127.0.0.1:5173/cb",
            "http://[::1]/",
            "org.example.app:/signed-in",
        )
    ],
    "OIDC_PROVIDERS": [
        (
            '[{"name": "kc", "issuer": "https://kc.example.org/realms/x", "client_id": "gatehouse"}]',
            (
                Provider(
                    name="kc",
                    issuer="https://kc.example.org/realms/x",
                    client_id="gatehouse",
                    label="Kc",
                    scopes=("openid", "email", "profile"),
                ),
            ),
        ),
        (
            '[{"name": "google", "preset": "google", "client_id": "g", "domains": ["Example.org"]}]',
            (
                Provider(
                    name="google",
                    preset="google",
                    issuer="https://accounts.google.com",
                    client_id="g",
                    label="Google",
                    scopes=("openid", "email", "profile"),
                    domains=("example.org",),
                ),
            ),
        ),
        (
            f'[{{"name": "ms", "preset": "microsoft", "tenant": "{TENANT}", "client_id": "m", "label": "\u00c4mter"}}]',
            (
                Provider(
                    name="ms",
                    preset="microsoft",
                    tenant=TENANT,
                    issuer=f"https://login.microsoftonline.com/{TENANT.lower()}/v2.0",
                    client_id="m",
                    label="\u00c4mter",
                    scopes=("openid", "email", "profile"),
                ),
            ),
        ),
        (
            '[{"name": "github", "preset": "github", "client_id": "h", "client_secret": "s"}]',
            (
                Provider(
                    name="github",
                    preset="github",
                    issuer="https://github.com",
                    client_id="h",
                    client_secret="s",
                    label="GitHub",
                    scopes=("read:user", "user:email"),
                ),
            ),
        ),
        ("[]", ()),
    ],
    "GPUSTACK_URL": [("https://gpustack.example.org/", "https://gpustack.example.org")],
    "GPUSTACK_API_KEY": [("gpustack_ab_12", "gpustack_ab_12")],
    "GPUSTACK_OFFLINE_HOURS": [("0", 0), ("8760", 8760)],
    "GPUSTACK_SYNC_MINUTES": [("0", 0), ("10080", 10080)],
    "SMTP_URL": [
        (url, url)
        for url in (
            "smtp://localhost",
            "smtp://localhost:25/",
            "smtp+starttls://user:p%40ss,word@mail.example.org:2525",
            "smtps://user%40example.org:hunter2@[2001:db8::1]",
        )
    ],
    "MAIL_FROM": [
        (text, text) for text in ("auth@example.org", "<auth@example.org>", "Grüße aus Köln <a@b.c>", '"A, B" <a@b.c>')
    ],
    "MAIL_TEMPLATES_DIR": [(str(EXAMPLE.parent), EXAMPLE.parent)],
    "NEW_DEVICE_MAIL": [("on", True), ("off", False)],
    "ADMIN_USERNAME": [("boss", "boss")],
    "ADMIN_PASSWORD": [("wombat-Ferry-41-lamp", "wombat-Ferry-41-lamp")],
    "SESSION_RETENTION_DAYS": [("0", 0), ("36500", 36500)],
    "AUDIT_RETENTION_DAYS": [("1", 1), ("36500", 36500)],
    "SESSIONS_PER_USER": [("0", 0), ("5", 5)],
    "METRICS_TOKEN": [("abc.DEF-123", "abc.DEF-123"), ("Off", "off")],
    "LOG_FORMAT": [("console", "console")],
    "LOG_LEVEL": [("debug", "debug")],
    "API_DOCS": [("off", False)],
    "DRAIN_SECONDS": [("0", 0.0), ("2.5", 2.5), ("999", 999.0)],
}
# Each value holds the canary if it is a secret, or may hold one.
CANARY = "cAnArY"
BAD: dict[str, list[str]] = {
    "ENVIRONMENT": ["prod"],
    "PUBLIC_URL": [
        "http://auth.example.org",  # in production
        "auth.example.org",
        "https://",
        "https://auth.example.org?x=1",
        "https://auth.example.org?",
        "https://auth.example.org#",
        f"https://user:{CANARY}@auth.example.org",
        f"https://:{CANARY}@auth.example.org",
        "https://auth example.org",
        "https://auth.example.org\t/",
        "https://auth.example.org:99999",
        "https://bücher.example",
        "https://[::1",
    ],
    "AUDIENCE": [],
    "SECRET_KEY": [CANARY, CANARY + "x" * 25, "changeme" * 5 + CANARY, "a" * 40],
    "SECRET_KEY_PREVIOUS": [CANARY],
    "DATABASE_URL": [
        f"mysql://user:{CANARY}@db/x",
        f"postgresql://user:{CANARY}@db:port/x",
        f"postgresql://user:{CANARY}@[db/x",
        f"postgresql://user:{CANARY}@db:70000/x",
        "postgresql://",
    ],
    "DATABASE_POOL_SIZE": ["0", "1001", "-1", "1.5", "1e2", "ten", "\u0665"],
    "VALKEY_URL": [f"http://:{CANARY}@cache", f"valkey://:{CANARY}@cache:0", f"valkey://:{CANARY}@cache:x"],
    "JWT_ALGORITHM": ["none", "ES512"],
    "JWT_SECRET": [CANARY],
    "ACCESS_TOKEN_EXPIRE_MINUTES": ["0", "1441"],
    "REFRESH_TOKEN_EXPIRE_DAYS": ["0", "3651"],
    "REFRESH_GRACE_SECONDS": ["-1", "301"],
    "STRICT_REVOCATION": ["true", "1"],
    "REGISTRATION": ["invite"],
    "PASSWORD_GRANT": ["yes"],
    "PASSWORD_MIN_LENGTH": ["7", "129"],
    "ARGON2_MEMORY_KIB": ["8191", "4194305"],
    "ARGON2_TIME_COST": ["0", "101"],
    "ARGON2_PARALLELISM": ["0", "65"],
    "RATE_LIMIT_LOGIN": ["5", "0/15m", "5/0m", "5/15", "5/15w", "-5/15m", "5 / 15m", "on", "1000000/1s"],
    "RATE_LIMIT_ACCOUNT": ["5"],
    "RATE_LIMIT_MFA": ["5"],
    "MFA_CODES_PER_LOGIN": ["0", "101"],
    "RATE_LIMIT_REGISTER": ["5"],
    "RATE_LIMIT_FORGOT": ["5"],
    "RATE_LIMIT_FORGOT_IP": ["5"],
    "TRUSTED_PROXIES": ["10.0.0.0/33", "proxy.example.org", "10.0.0.1 10.0.0.2"],
    "CORS_ORIGINS": [
        "*",
        "null",
        "app.example.org",
        "https://app.example.org/",
        "https://*.example.org",
        "https://user@app.example.org",
        "https://app.example.org:0",
        "ftp://app.example.org",
        "https://app.example.org https://other.example.org",
    ],
    "OUTBOUND_CA_FILE": [str(EXAMPLE.parent), f"/nowhere/{CANARY}"],
    "REDIRECT_URIS": [
        "https://app.example.org/#x",
        "https://user@app.example.org/",
        "https://app.example.org/a b",
        "http://app.example.org/",
        "javascript:alert(1)",
        "data:text/html,x",
        "app:/cb",
        "/cb",
        "https:///cb",
        "https://app.example.org\\\\@evil.example/",
    ],
    "OIDC_PROVIDERS": [
        CANARY,
        f'{{"name": "{CANARY}"}}',
        f'[{{"name": "kc", "client_id": "g", "issuer": "https://kc.example.org", "client_secrte": "{CANARY}"}}]',
        f'[{{"name": "kc", "client_id": "g", "issuer": "https://kc.example.org", "client_secret": "{CANARY} x"}}]',
        f'[{{"name": "kc", "client_id": "g", "issuer": "https://kc.example.org", "client_secret": ["{CANARY}"]}}]',
        '[{"name": "kc", "client_id": "g", "issuer": "http://kc.example.org"}]',
        '[{"name": "kc", "client_id": "g", "issuer": "https://kc.example.org?x=1"}]',
        '[{"name": "kc", "client_id": "g", "issuer": "https://[::1"}]',
        '[{"name": "kc", "client_id": "g"}]',
        '[{"name": "kc", "client_id": "", "issuer": "https://kc.example.org"}]',
        '[{"name": "local", "client_id": "g", "issuer": "https://kc.example.org"}]',
        '[{"name": "gpustack", "client_id": "g", "issuer": "https://kc.example.org"}]',
        '[{"name": "KC", "client_id": "g", "issuer": "https://kc.example.org"}]',
        '[{"name": "kc", "client_id": "g", "issuer": "https://kc.example.org", "scopes": ["email"]}]',
        '[{"name": "kc", "client_id": "g", "issuer": "https://kc.example.org", "domains": ["@example.org"]}]',
        '[{"name": "kc", "client_id": "g", "issuer": "https://kc.example.org", "label": "\\u202e"}]',
        '[{"name": "ms", "preset": "microsoft", "client_id": "g", "tenant": "common"}]',
        f'[{{"name": "ms", "preset": "microsoft", "client_id": "g", "tenant": "{TENANT}", "domains": ["a.example"]}}]',
        f'[{{"name": "ms", "preset": "microsoft", "client_id": "g", "tenant": "{TENANT}", "link_by_email": true}}]',
        f'[{{"name": "g", "preset": "google", "client_id": "g", "tenant": "{TENANT}"}}]',
        '[{"name": "g", "preset": "google", "client_id": "g", "issuer": "https://accounts.example.org"}]',
        '[{"name": "a", "preset": "google", "client_id": "g"}, {"name": "b", "preset": "google", "client_id": "g"}]',
        '[{"name": "a", "preset": "google", "client_id": "g"}, {"name": "a", "preset": "github", "client_id": "g"}]',
    ],
    "GPUSTACK_URL": [
        "http://gpustack.example.org",
        f"https://user:{CANARY}@gpustack.example.org",
        "gpustack",
        "https://x?y",
    ],
    "GPUSTACK_API_KEY": [f"{CANARY} x"],
    "GPUSTACK_OFFLINE_HOURS": ["-1", "8761", "1.5"],
    "GPUSTACK_SYNC_MINUTES": ["-1", "10081"],
    "SMTP_URL": [
        f"http://user:{CANARY}@mail.example.org",
        f"smtp://user:{CANARY}@",
        f"smtp://:{CANARY}@mail.example.org",
        "smtp://user@mail.example.org",
        f"smtp://user:{CANARY}@one,two",
        f"smtp://user:{CANARY}@mail.example.org/inbox",
        f"smtp://user:{CANARY}@mail.example.org?tls=no",
        f"smtp://user:{CANARY}@mail.example.org#x",
        f"smtp://user:{CANARY}/x@mail.example.org",
        f"smtp://user:{CANARY}@mail.example.org:99999",
    ],
    "MAIL_FROM": ["Gatehouse", "a@b, c@d", "Name a@b.c", "Name <a@b.c", "a@b.c> x", "a@b.c\nBcc: x@y.z", "ä@b.c"],
    "MAIL_TEMPLATES_DIR": [str(EXAMPLE), f"/nowhere/{CANARY}"],
    "NEW_DEVICE_MAIL": ["perhaps"],
    "ADMIN_USERNAME": ["", "-boss", "boss@example.org", "b" * 65],
    "ADMIN_PASSWORD": [CANARY, CANARY * 200],
    "SESSION_RETENTION_DAYS": ["-1", "36501"],
    "AUDIT_RETENTION_DAYS": ["0", "36501"],
    "SESSIONS_PER_USER": ["-1", "100001"],
    "METRICS_TOKEN": [f"{CANARY} x", f"{CANARY}é"],
    "LOG_FORMAT": ["xml"],
    "LOG_LEVEL": ["trace"],
    "API_DOCS": ["true"],
    "DRAIN_SECONDS": ["-1", "1000", "1e1", "nan", "inf"],
}


def loaded(**more: str) -> Settings:
    return load(REQUIRED | more, env_file=None)


def refused(environ: dict[str, str], env_file: Path | None = None) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        load(environ, env_file)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


def test_the_tables_of_these_tests_know_every_setting() -> None:
    names = {field.name.upper() for field in fields(Settings)}

    assert names == set(GOOD) == set(BAD) == {name.upper() for name in PARSERS}


@pytest.mark.parametrize(("name", "raw", "value"), [(name, *case) for name, cases in GOOD.items() for case in cases])
def test_a_setting_is_read(name: str, raw: str, value: object) -> None:
    given = {"MAIL_FROM": "auth@example.org", name: raw}  # which SMTP_URL asks for

    assert getattr(loaded(**given), name.lower()) == value


@pytest.mark.parametrize(("name", "raw"), [(name, raw) for name, cases in BAD.items() for raw in cases if raw])
def test_a_wrong_setting_is_one_line_that_begins_with_its_name_and_does_not_repeat_it(name: str, raw: str) -> None:
    (line,) = refused(REQUIRED | {name: raw})

    assert line.startswith(f"{name}: ")
    assert CANARY.lower() not in line.lower()


def test_each_wrong_setting_has_its_line() -> None:
    lines = refused(REQUIRED | {"LOG_LEVEL": "loud", "SECRET_KEY": "short", "DRAIN_SECONDS": "soon"})

    assert sorted(line.partition(":")[0] for line in lines) == ["DRAIN_SECONDS", "LOG_LEVEL", "SECRET_KEY"]


def test_what_is_required_is_missed() -> None:
    lines = refused({})

    assert [line.partition(":")[0] for line in lines] == ["SECRET_KEY", "DATABASE_URL", "VALKEY_URL", "PUBLIC_URL"]


@pytest.mark.parametrize("name", REQUIRED)
def test_an_empty_setting_is_none(name: str) -> None:
    (line,) = refused(REQUIRED | {name: "  "})

    assert line.startswith(f"{name}: is required")


def test_no_secret_shows_in_the_settings_themselves() -> None:
    secrets = {"SECRET_KEY": SECRET, "SECRET_KEY_PREVIOUS": OTHER_SECRET, "JWT_SECRET": OTHER_SECRET[::-1]}
    mail = {"SMTP_URL": "smtps://user:hunter2@mail.example.org", "MAIL_FROM": "auth@example.org"}
    shown = repr(loaded(**secrets, **mail, ADMIN_PASSWORD="wombat-Ferry-41-lamp", METRICS_TOKEN="metrics-wombat"))

    assert "https://auth.example.org" in shown
    for secret in (*secrets.values(), "hunter2", "wombat"):
        assert secret not in shown


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


# ---- production ---------------------------------------------------------------------------------------------------


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


# ---- .env ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_the_file_is_read_and_the_environment_wins(env_file: Path) -> None:
    env_file.write_text('\ufeff# ours\nexport LOG_LEVEL="debug" # loud\n\nLOG_FORMAT=console\nAUDIENCE=$HOME\n')

    settings = load(REQUIRED | {"LOG_FORMAT": "json"}, env_file)

    assert (settings.log_level, settings.log_format, settings.audience) == ("debug", "json", "$HOME")


def test_without_a_file_the_environment_is_all_there_is(env_file: Path) -> None:
    assert load(REQUIRED, env_file) == loaded()


def test_a_name_in_the_file_that_is_no_setting_is_refused(env_file: Path) -> None:
    env_file.write_text(f"\n# a comment\nSECRET_KEYY={CANARY}\nregistration=closed\n")

    first, second = refused(REQUIRED, env_file)

    assert first == f"SECRET_KEYY: there is no such setting ({env_file}, line 3)"
    assert second == f"registration: there is no such setting ({env_file}, line 4)"


def test_a_name_in_the_environment_that_is_no_setting_may_be_somebody_elses() -> None:
    assert loaded(PATH="/bin", SECRET_KEYY="x") == loaded()


@pytest.mark.parametrize("line", ["REGISTRATION closed", "REGISTRATION", "=closed", 'AUDIENCE="closed', "A B=c"])
def test_a_line_of_the_file_that_says_nothing_is_refused(env_file: Path, line: str) -> None:
    """Else the setting that it means would pass for its default."""
    env_file.write_text(f"LOG_LEVEL=info\n\n{line}\n")

    assert refused(REQUIRED, env_file) == [f"{env_file}, line 3: is not NAME=value"]


def test_a_secret_that_has_slipped_into_a_line_of_its_own_is_not_shown(env_file: Path) -> None:
    env_file.write_text(f"SECRET_KEY=\\\nMIIEvQ{CANARY}BgkqhkiG9w0BAQEFAASC==\n")

    lines = refused(REQUIRED, env_file)

    assert CANARY not in "".join(lines)
    assert any("line 2" in line for line in lines)


def test_a_file_that_cannot_be_read_is_one_line(env_file: Path) -> None:
    env_file.write_bytes(b"AUDIENCE=\xff\n")

    assert refused(REQUIRED, env_file) == [f"{env_file}: cannot be read: it is not UTF-8"]


# ---- .env.example -------------------------------------------------------------------------------------------------


def test_the_example_lists_every_setting_with_its_default() -> None:
    listed = {name: (commented, value) for commented, name, value in SETTING.findall(EXAMPLE.read_text())}

    assert sorted(listed) == sorted(field.name.upper() for field in fields(Settings))
    assert len(listed) == len(SETTING.findall(EXAMPLE.read_text()))
    for field in fields(Settings):
        commented, value = listed[field.name.upper()]
        default: Any = field.default
        assert (PARSERS[field.name](value) if value else type(default)()) == default, field.name
        assert bool(commented) == (field.name.upper() not in REQUIRED), field.name


def test_the_example_gives_each_setting_a_reason() -> None:
    for paragraph in EXAMPLE.read_text().split("\n\n"):
        if SETTING.search(paragraph):
            assert paragraph.startswith("# "), paragraph
            assert not SETTING.match(paragraph), paragraph


def test_the_example_starts_a_service_once_what_is_required_is_filled_in(env_file: Path) -> None:
    text = EXAMPLE.read_text()
    for name, value in REQUIRED.items():
        text = text.replace(f"\n{name}=\n", f"\n{name}={value}\n")
    env_file.write_text(text)

    assert load({}, env_file) == loaded()


@pytest.mark.parametrize(
    ("issuer", "api"),
    [
        ("", "https://api.github.com"),
        ("https://octo.ghe.com", "https://api.octo.ghe.com"),
        ("https://github.example.org", "https://github.example.org/api/v3"),
        ("https://notghe.com.example.org", "https://notghe.com.example.org/api/v3"),
    ],
)
def test_where_the_api_of_a_github_is(issuer: str, api: str) -> None:
    said = {"name": "github", "preset": "github", "client_id": "g", "issuer": issuer}

    (provider,) = providers.parse(json.dumps([said]))

    assert provider.api == api
    assert api in providers.named_urls((provider,))
