"""Snapshots in memory: one at each cycle's end, however steps and ends fall."""

import pytest
import torch

from polyak.ensemble import Snapshots
from polyak.optim.schedules import cycle_ends


@pytest.mark.parametrize("steps", [3, 7, 30, 101])
def test_one_at_each_cycle_s_end(steps):
    network, snapshots = torch.nn.Linear(1, 1, bias=False), Snapshots(cycle_ends(3))
    for step in range(1, steps + 1):
        torch.nn.init.constant_(network.weight, step)
        if snapshots.due(step / steps):
            snapshots.take(network.state_dict(), step / steps)
    taken = snapshots.taken()
    assert [one.number for one in taken] == [1, 2, 3]
    assert [one.share for one in taken] == pytest.approx([1 / 3, 2 / 3, 1])
    # the first step at which the cycle was over; later steps do not change what was kept
    assert [one.state["weight"].item() for one in taken] == [-(-steps * k // 3) for k in (1, 2, 3)]


def test_cycles_that_end_between_two_steps_are_one_snapshot():
    snapshots = Snapshots([0.1, 0.2, 1.0])
    assert not snapshots.due(0.05) and snapshots.due(0.3)
    snapshots.take({"w": torch.zeros(1)}, 0.3)
    assert not snapshots.due(0.9)
    assert [(one.number, one.share) for one in snapshots.taken()] == [(2, 0.2)]
