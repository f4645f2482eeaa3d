"""What a query says of networks and times."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.asked import network, utc
from app.errors import ValidationFailed


def ends(text: str) -> tuple[str, str]:
    found = network(text)
    return str(found[0]), str(found[-1])


def test_networks_have_two_ends() -> None:
    assert ends("192.0.2.9/24") == ("192.0.2.0", "192.0.2.255")
    assert ends("192.0.2.9") == ends("192.0.2.9/32") == ("192.0.2.9", "192.0.2.9")
    assert ends("::ffff:192.0.2.9") == ("192.0.2.9", "192.0.2.9")
    assert ends("2001:db8::/32")[1] == "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"


def test_a_time_that_utc_does_not_have_is_told_by_its_field() -> None:
    assert utc(datetime(2026, 1, 1, 3, tzinfo=timezone(timedelta(hours=3))), "since") == datetime(
        2026, 1, 1, tzinfo=UTC
    )
    with pytest.raises(ValidationFailed) as told:
        utc(datetime.max.replace(tzinfo=timezone(timedelta(hours=-3))), "since")
    assert told.value.errors[0]["field"] == "since"
