"""Statistics re-estimated for averaged weights."""

import copy

import pytest
import torch
from torch import nn

from polyak.errors import UsageError
from polyak.optim import Average, refresh_batch_norm
from polyak.optim.batch_norm import refreshed_batch_norm


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2)
    )


def batches(n=5):
    return [torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(k)) for k in range(n)]


def test_same_as_torchs_update_bn():
    ours, theirs = network(), network()
    refresh_batch_norm(ours, batches())
    torch.optim.swa_utils.update_bn(batches(), theirs)
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    assert ours[1].running_mean.abs().max() > 0


def test_modes_and_momenta_come_back():
    net = network()
    net[1].momentum, net[4].momentum = 0.3, 0.7
    net.eval()
    refresh_batch_norm(net, [(batch, 0) for batch in batches(2)])
    assert (net[1].momentum, net[4].momentum) == (0.3, 0.7)
    assert not any(module.training for module in net.modules())


def test_dropout_is_off():
    net = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(1))
    refresh_batch_norm(net, [torch.ones(50, 1)])
    assert net[1].running_mean.item() == 1
    assert net[0].training


def test_a_frozen_layer_stays():
    net = network()
    net[1].eval()
    refresh_batch_norm(net, batches(2))
    assert net[1].running_mean.abs().max() == 0
    assert net[4].running_mean.abs().max() > 0
    assert not net[1].training


def test_no_batches_is_an_error_and_changes_nothing():
    net = network()
    net(batches(1)[0])
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(UsageError, match="no batch"):
        refresh_batch_norm(net, [])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_without_batch_norm_no_batch_is_drawn():
    refresh_batch_norm(nn.Linear(1, 1), iter(lambda: pytest.fail("drawn"), 0))


def test_the_statistics_swap_with_the_weights():
    net = network()
    average = Average(net, decay=0.5)
    before = copy.deepcopy(net.state_dict())
    with average.swapped_in(net, batches(2)):
        assert not torch.equal(net[1].running_mean, before["1.running_mean"])
    with refreshed_batch_norm(net, batches(2)):
        pass
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("odd", [torch.ones(2, 5, 9, 9), "no tensor"])
def test_an_error_halfway_leaves_the_statistics(odd):
    net = network()
    own = copy.deepcopy(net.state_dict())
    with pytest.raises((RuntimeError, AttributeError)):
        refresh_batch_norm(net, [*batches(2), odd])
    assert all(torch.equal(value, own[name]) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize("width", [1, 9])
def test_statistics_come_back_to_a_layer_that_was_changed(width):
    net = network()
    own = copy.deepcopy(net[1].state_dict())
    with refreshed_batch_norm(net, batches(2)):
        net[1].running_mean = torch.zeros(width)
        net[1].running_var.data = torch.ones(width)
        net[1].num_batches_tracked = None
    assert all(torch.equal(value, own[name]) for name, value in net[1].state_dict().items())
