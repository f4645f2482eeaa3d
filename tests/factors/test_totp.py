"""Which time step a code is of: the present one or a neighbour, to the second; and of nobody else's secret."""

from dataclasses import replace

import pyotp
import pytest

from app.factors.totp import Enrolment, Totp
from tests.replica import settings_for

SETTINGS = settings_for("", "")
ADA, GRACE = 1, 2
STEP = 60_000_000  # a step long after 1970
EDGES = [STEP * 30, STEP * 30 + 0.001, STEP * 30 + 15, STEP * 30 + 29.999]  # seconds, all of the same step


@pytest.fixture
def totp() -> Totp:
    return Totp(SETTINGS)


@pytest.fixture
def enrolment(totp: Totp) -> Enrolment:
    return totp.enrol(ADA, "ada")


def code(enrolment: Enrolment, step: int) -> str:
    return str(pyotp.TOTP(enrolment.secret).at(step * 30))


@pytest.mark.parametrize("now", EDGES)
def test_a_clock_may_be_off_by_one_step_at_any_moment_of_it(totp: Totp, enrolment: Enrolment, now: float) -> None:
    found = {ahead: totp.step(ADA, enrolment.sealed, code(enrolment, STEP + ahead), now) for ahead in range(-3, 4)}

    assert found == {-3: None, -2: None, -1: STEP - 1, 0: STEP, 1: STEP + 1, 2: None, 3: None}


def test_it_may_be_written_in_groups(totp: Totp, enrolment: Enrolment) -> None:
    present = code(enrolment, STEP)

    for written in (f"{present[:3]} {present[3:]}", f" {present} ", " ".join(present)):
        assert totp.step(ADA, enrolment.sealed, written, STEP * 30) == STEP


def test_nothing_else_is_one(totp: Totp, enrolment: Enrolment) -> None:
    present = code(enrolment, STEP)
    arabic = present.translate({ord(str(digit)): chr(0x660 + digit) for digit in range(10)})

    for other in ("", present[:5], present + "0", "0" + present, present[::-1] + "x", arabic, "x" * 16):
        assert totp.step(ADA, enrolment.sealed, other, STEP * 30) is None


def test_a_secret_is_its_users_alone(totp: Totp, enrolment: Enrolment) -> None:
    """Whoever can write into the database does not give it to somebody else."""
    assert totp.step(GRACE, enrolment.sealed, code(enrolment, STEP), STEP * 30) is None
    assert totp.resealed(GRACE, enrolment.sealed) is None


def test_it_outlives_one_change_of_the_key_and_is_sealed_anew(enrolment: Enrolment) -> None:
    new = "Z" + SETTINGS.secret_key[1:]
    changed = Totp(replace(SETTINGS, secret_key=new, secret_key_previous=SETTINGS.secret_key))
    alone = Totp(replace(SETTINGS, secret_key=new))
    given = code(enrolment, STEP)

    sealed = changed.resealed(ADA, enrolment.sealed)

    assert changed.step(ADA, enrolment.sealed, given, STEP * 30) == STEP
    assert alone.step(ADA, enrolment.sealed, given, STEP * 30) is None
    assert alone.resealed(ADA, enrolment.sealed) is None
    assert sealed is not None
    assert alone.step(ADA, sealed, given, STEP * 30) == STEP
    assert sealed[:4] == alone.key_id != enrolment.sealed[:4]


def test_a_secret_is_long_and_prints_nowhere(totp: Totp, enrolment: Enrolment) -> None:
    assert len(enrolment.secret) == 32
    assert totp.enrol(ADA, "ada").secret != enrolment.secret
    assert enrolment.secret not in repr(enrolment)
    assert enrolment.secret.encode() not in enrolment.sealed
