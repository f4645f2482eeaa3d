"""The verdict on a run."""

from collections.abc import Sequence

from loadtests.bounds import VIOLATION, Bounds, Seen, Share, Time, judge, refused

BOUNDS = Bounds(
    failed=Share(0.01, "of a reason"), refused=Share(0.5, "of a queue"), times=[Time("GET /me", 100, 200, "of a page")]
)
ME = Seen("GET", "/me", 100, 0, 50, 100)


def broken(*seen: Seen) -> Sequence[str]:
    return [finding.text for finding in judge(seen, BOUNDS) if not finding.holds]


def test_a_run_within_its_bounds_holds() -> None:
    assert broken(ME, Seen("POST", "/login", 100, 1, 900, 1000)) == []


def test_too_many_failures_break_it() -> None:
    assert broken(ME, Seen("POST", "/login", 100, 3, 1, 1)) == ["failed: 3 of 200, at most 1.00%, because of a reason"]


def test_who_is_told_to_come_again_is_counted_apart() -> None:
    login = Seen("POST", "/login", 10, 0, 1, 1)

    assert broken(ME, login, Seen("POST", refused("/login", "overloaded"), 10, 0, 1, 1)) == []
    assert broken(ME, login, Seen("POST", refused("/login", "rate_limited"), 11, 0, 1, 1)) == [
        "told to come again (0 overloaded, 11 rate_limited): 11 of 21, at most 50.00%, because of a queue"
    ]


def test_slow_answers_break_it() -> None:
    slow = "p95 101 ms (at most 100), p99 150 ms (at most 200), because of a page"
    slower = "p95 50 ms (at most 100), p99 201 ms (at most 200), because of a page"

    assert broken(Seen("GET", "/me", 9, 0, 101, 150)) == [f"GET /me: 9 requests, {slow}"]
    assert broken(Seen("GET", "/me", 9, 0, 50, 201)) == [f"GET /me: 9 requests, {slower}"]


def test_what_nobody_asked_is_not_known_to_hold() -> None:
    assert broken(Seen("POST", "/me", 9, 0, 1, 1)) == ["GET /me: nobody asked, so nothing is known"]


def test_one_violation_breaks_it() -> None:
    violation = Seen("GET", f"{VIOLATION}served after a logout", 1, 0, 1, 1)

    assert broken(ME, violation) == ["served after a logout: 1 times, and may not happen once"]
