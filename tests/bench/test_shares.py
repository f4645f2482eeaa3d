"""A share of a core is asked of cgroups of either version, or refused in words."""

from pathlib import Path

import pytest

from bench.shares import Share, shares


def text(share: Share, name: str) -> str:
    return (share.group / name).read_text()


def empty(share: Share) -> None:
    """The kernel's files go with their group; these do not."""
    for path in share.group.iterdir():
        path.unlink()


def test_version_1_is_open_at_first_and_then_held(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cgroup.procs").touch()

    with shares(2, 0.15, tmp_path) as held:
        at_first = text(held[1], "cpu.cfs_quota_us")
        held[1].hold()
        later = text(held[1], "cpu.cfs_quota_us"), text(held[1], "cpu.cfs_period_us")
        for share in held:
            empty(share)

    assert at_first == "10000"  # a core
    assert later == ("1500", "10000")
    assert [path.name for path in (tmp_path / "cpu").iterdir()] == ["cgroup.procs"]


def test_version_2_has_one_file(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory")

    with shares(1, 0.15, tmp_path) as (share,):
        (share.group / "cpu.max").touch()  # as the kernel does
        share.hold()
        later = text(share, "cpu.max")
        empty(share)

    assert later == "1500 10000"


@pytest.mark.parametrize("granted", [None, "memory pids"])
def test_a_machine_without_such_groups_is_refused_in_words(tmp_path: Path, granted: str | None) -> None:
    if granted is not None:
        (tmp_path / "cgroup.controllers").write_text(granted)

    with pytest.raises(SystemExit, match="no cgroup that limits processors"), shares(1, 0.15, tmp_path):
        pass


def test_less_than_the_kernel_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"0\.1 of a core or more"), shares(1, 0.05, tmp_path):
        pass
