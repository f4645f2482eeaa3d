"""Settings as an operator gives them, and what is said of those that are wrong."""

from pathlib import Path

import pytest

from app.settings import InvalidSettings, Settings, load

EXAMPLE = Path(__file__).parents[2] / ".env.example"
SECRET = "p7Jq2sVx9Lr4Tz8Wb3Nc6Md1Kf5Hg0Ya"
OTHER_SECRET = "Zq4Xw8Ec2Rv6Tb0Yn5Um9Ik3Ol7Pj1Hg"
REQUIRED = {
    "PUBLIC_URL": "https://auth.example.org",
    "SECRET_KEY": SECRET,
    "DATABASE_URL": "postgresql://gatehouse:hunter2@db/gatehouse",
    "VALKEY_URL": "valkey://:hunter2@cache:6379/0",
}
# Each value holds the canary if it is a secret, or may hold one.
CANARY = "cAnArY"


def loaded(**more: str) -> Settings:
    return load(REQUIRED | more, env_file=None)


def refused(environ: dict[str, str], env_file: Path | None = None) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        load(environ, env_file)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems
