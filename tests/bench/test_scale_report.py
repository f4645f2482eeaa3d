"""The verdict on what replicas carry."""

from bench.meters import Use
from bench.scale_report import FINDING, Carried, Tried, findings, table


def carried(
    replicas: int,
    rate: float,
    *,
    statements: int = 300,
    p99: int = 90,
    load: float = 0.2,
    valkey: float = 0.1,
    postgres: float = 0.1,
    machine: float = 1.0,
) -> Carried:
    """Ten seconds at a rate, so many statements for a thousand requests, four of them a second by the replica alone."""
    requests = int(rate * 10)
    processors = {"replicas": 0.15 * replicas, "PostgreSQL": postgres, "Valkey": valkey, "load": 2 * load}
    use = Use(10, processors, load, machine, requests * statements // 1000, requests // 5, requests * 2)
    idle = Use(10, processors, 0.0, 0.1, 40 * replicas, 40 * replicas, 0)
    tried = Tried(rate, 10, 0, {5: requests - 105, p99: 100}, {150: 3, 300: 2}, use=use)
    return Carried(replicas, 0.15, idle, [tried] * (FINDING + 2))


def broken(*every: Carried) -> list[str]:
    return [finding.text for finding in findings(every, cores=2) if not finding.holds]


def test_replicas_that_carry_as_many_times_as_much_are_praised() -> None:
    assert broken(carried(1, 100), carried(2, 195), carried(4, 362)) == []


def test_less_than_nine_tenths_is_too_little() -> None:
    assert broken(carried(1, 100), carried(4, 355)) == ["4 carry 3.55 times what 1 does, at least 3.60"]


def test_statements_that_grow_with_the_replicas_are_found() -> None:
    found = broken(carried(1, 100, statements=300), carried(4, 400, statements=340))

    assert found[0] == "statements for 1,000 requests differ by 13.3%, at most 10%"


def test_what_takes_longer_is_not_carried_at_the_same_p99() -> None:
    assert broken(carried(1, 100), carried(4, 400, p99=98)) == []
    assert broken(carried(1, 100), carried(4, 400, p99=100)) == ["the p99 of 4 is +11% of that of 1, at most +10%"]


def test_figures_of_a_load_a_store_or_a_machine_that_was_full_are_none() -> None:
    assert broken(carried(1, 100), carried(4, 400, load=0.85))[0].startswith("the busiest process of the load")
    assert broken(carried(1, 100), carried(4, 400, valkey=0.9))[0].startswith("Valkey")
    assert broken(carried(1, 100), carried(4, 400, postgres=0.9))[0].startswith("PostgreSQL")
    assert broken(carried(1, 100), carried(4, 400, machine=1.7))[0].startswith("the machine")


def test_the_table_has_what_held_and_what_polls_do() -> None:
    lines = table([carried(1, 100), carried(4, 400)], 150).splitlines()

    rows = [line.split(" | ") for line in lines if line.startswith(("| 1 ", "| 4 "))]
    assert [[*row[1:3], *row[4:6]] for row in rows] == [
        ["100", "1.00", "5 ms", "90 ms"],
        ["400", "4.00", "5 ms", "90 ms"],
    ]
    assert [row[12:14] for row in rows] == [["300", "260"], ["300", "260"]]
    assert lines[-1] == "An idle replica sends 4.0 (1), 4.0 (4) statements a second."
