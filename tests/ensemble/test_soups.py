"""Mean weights, by hand on small numbers; statistics that belong to the mean."""

import pytest
import torch
from torch import nn

from polyak.ensemble import basin, copied, greedy_soup, refreshed, soup
from polyak.errors import UsageError


def test_soup_by_hand_and_refused():
    one = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}
    two = {"w": torch.tensor([3.0, 6.0]), "n": torch.tensor(9)}
    mixed = soup([one, two])
    assert mixed["w"].tolist() == [2.0, 4.0] and mixed["n"].item() == 3
    assert torch.equal(soup([one])["w"], one["w"])
    with pytest.raises(ValueError, match="one architecture"):
        soup([one, {"w": torch.zeros(3)}])


def test_a_greedy_soup_is_never_worse_than_its_best():
    parts = [{"w": torch.tensor([x])} for x in (5.0, 4.0, 3.5)]
    alone = [abs(p["w"].item() - 3) for p in parts]
    _, chosen, loss = greedy_soup(parts, alone, lambda s: abs(s["w"].item() - 3))
    assert chosen == [2] and loss == min(alone)


def test_a_barrier_is_a_reason():
    assert basin(1.0, [0.9, 1.0]) == ""
    assert "not in one basin" in basin(1.01, [0.9, 1.0])


def test_averaged_weights_get_statistics_of_their_own():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    one = copied(network)
    other = one | {"1.running_mean": torch.full((2,), 9.0)}
    batch = torch.randn(50, 2) * 3 + 1
    found = refreshed(network, soup([one, other]), [batch], [one, other])
    assert torch.equal(found["0.running_mean"], one["0.running_mean"])  # both share it
    # the second layer reads what the first gives, with statistics of mean 0 and variance 1
    assert torch.allclose(found["1.running_mean"], batch.mean(0), atol=1e-4)
    assert [layer.track_running_stats for layer in network] == [True, True]  # as before
    anew = refreshed(network, soup([one, other]), [batch])
    assert torch.allclose(anew["0.running_mean"], batch.mean(0), atol=1e-6)
    with pytest.raises(UsageError, match="no batch"):
        refreshed(network, one, [])
