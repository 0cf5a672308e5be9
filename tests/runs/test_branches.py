"""Branches: members at the ends of falls that training goes back from."""

import pytest
import torch
from safetensors.torch import load_file

from jobs import resumes_exactly, run, steps
from polyak.errors import UsageError
from polyak.rundir import checkpoints

BRANCHES = {"ensemble": "branches", "cycles": 3, "epochs": 6, "average": 0}


def test_a_member_at_the_end_of_each_fall(job, tmp_path):
    end = run(job(**BRANCHES))
    files = sorted((tmp_path / "runs/job/checkpoints").glob("snapshot-*"))
    states = [load_file(file) for file in files]
    assert len(states) == 3
    assert not torch.equal(states[0]["head.weight"], states[1]["head.weight"])
    assert {"weights", "best branch", "3 branches"} <= set(end["candidates"])


@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
@pytest.mark.parametrize("number", [10, 11, 13, 17, 23])
def test_left_within_a_fall_or_behind_it_and_resumed_is_never_left(
    job, tmp_path, number, optimizer
):
    choices = BRANCHES | {"average": 0.1, "optimizer": optimizer}
    resumes_exactly(job, tmp_path / "runs", number, **choices)


def test_what_a_fall_learnt_is_not_in_the_next_branch(job, tmp_path):
    """With a fall of another length behind it, the trunk would go on from other weights."""
    found = {}
    for name, number in (("fell", 14), ("falls", 11)):  # behind the first fall, and within it
        steps(job(name=name, **BRANCHES), number)
        state = checkpoints.newest(tmp_path / f"runs/{name}/checkpoints")[0]
        found[name] = state["trunk"]
    assert found["falls"]["kept"] is not None and found["falls"]["lost"] == 0
    assert found["fell"]["kept"] is None and found["fell"]["lost"] > 1


@pytest.mark.parametrize(
    "choices", [{"ensemble": "branches", "schedule": "cosine"}, {"schedule": "wsd", "cycles": 2}]
)
def test_branches_and_wsd_belong_together(job, choices):
    with pytest.raises(UsageError, match=r"wsd"):
        run(job(**choices))


def test_cycles_that_leave_no_trunk_are_fine(job):
    end = run(job(**BRANCHES | {"cycles": 12, "epochs": 8}))
    assert "12 branches" in end["candidates"]
