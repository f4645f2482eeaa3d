"""What clients can rely on while the stores and processes below the service break, one after another."""

from pathlib import Path

import pytest

from tests.faults import torture
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.nemesis import KINDS

SEED = 20  # of the short run; any will do, and it stays the same so that a failure can be had again


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_what_a_mutant_replaces_is_there_once(tmp_path: Path, mutant: Mutant) -> None:
    """`make mutants` plays them; here only that the code has not moved away from under them."""
    mutant.copy(tmp_path)


async def test_no_fault_makes_an_answer_untrue(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("faults") / "cluster"

    report = await torture.run(directory, SEED)

    assert not report.violations, report.told()
    assert set(report.faults) == set(KINDS)
