"""A piece of `make fuzz`, the same at every run."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.cli.embedded import Postgres
from tests.conftest import copy_migrated
from tests.fuzz.documented import Fuzzer
from tests.fuzz.house import House, serving
from tests.fuzz.tokens import Forger

SEED = 1
CASES, MUTATIONS = 200, 50


@pytest.fixture(scope="module")
async def house(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    copy_migrated(postgres, "fuzzed")
    async with serving(tmp_path_factory.mktemp("fuzz"), postgres.url("fuzzed")) as house:
        yield house


async def test_whatever_is_sent_is_answered_as_the_document_says(house: House) -> None:
    fuzzer = Fuzzer(house, SEED)

    report = await asyncio.to_thread(fuzzer.run, CASES)

    assert [str(finding) for finding in report.findings.values()] == []
    assert house.faults() == []
    assert report.cases == CASES
    assert len(report.reached) > 15


async def test_no_mutation_of_a_token_is_good_for_anything(house: House) -> None:
    admin = await asyncio.to_thread(house.new_admin)

    refusals = await asyncio.to_thread(Forger(house, admin).run, MUTATIONS, SEED)

    assert [finding for each in refusals.values() for finding in each.findings] == []
    assert sum(each.mutations for each in refusals.values()) == MUTATIONS
    assert house.faults() == []
