"""What clients can rely on while the stores and processes below the service break, one after another."""

from pathlib import Path

import pytest

from tests.faults import scenes, torture
from tests.faults.cluster import Cluster
from tests.faults.mutants import MUTANTS, Mutant, play, without
from tests.faults.nemesis import KINDS

SEED = 20  # of the short run; any will do, and it stays the same so that a failure can be had again
FAST = ("2: a revocation deletes nothing", "refresh: any old token is answered")  # they need no store to fail


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_what_a_mutant_replaces_is_there_once(tmp_path: Path, mutant: Mutant) -> None:
    """`make mutants` plays them; here only that the code has not moved away from under them."""
    without(tmp_path, mutant)


async def test_rules_that_are_switched_off_are_missed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two of the mutants at once, for they are found by different rules of the checker: it can turn red."""
    directory = tmp_path_factory.mktemp("mutants")
    chosen = [mutant for mutant in MUTANTS if mutant.rule in FAST]
    assert {mutant.schedule for mutant in chosen} == {scenes.plain, scenes.replayed}
    source = without(directory / "source", *chosen)

    async with Cluster(directory / "cluster", workers=1, idle=True) as cluster:
        played = await play(cluster, "mutants", (scenes.plain, scenes.replayed), source)

    assert {mutant.finds for mutant in chosen} <= {violation.rule for violation in played.violations}


async def test_no_fault_makes_an_answer_untrue(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("faults") / "cluster"

    report = await torture.run(directory, SEED)

    assert not report.violations, report.told()
    assert set(report.faults) == set(KINDS)
