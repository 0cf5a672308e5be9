"""Fine-tuning: depth, what sleeps, what it costs, and what draws it back."""

import copy

import pytest
import torch
from torch import nn

from polyak.networks import Compact, build
from polyak.optim import SGD, refresh_batch_norm
from polyak.transfer import Tuning, depths


@pytest.fixture(scope="module")
def pretrained():
    torch.manual_seed(0)
    return build("mobilenetv3_small_050", 3)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("resnet18", {"conv1.weight", "bn1.weight"}, {"fc.weight", "fc.bias"}),
        ("vit_tiny_patch16_224", {"cls_token", "pos_embed"}, {"norm.weight", "head.bias"}),
    ],
)
def test_depth_follows_the_forward_pass(name, first, last):
    found = depths(build(name, 3))
    assert {found[key] for key in first} == {0}
    assert {found[key] for key in last} == {max(found.values())}
    order = [depth for key, depth in found.items() if key not in first | last]
    assert order == sorted(order)


def test_frozen_stages_do_not_change_and_cost_no_gradient(pretrained):
    network = copy.deepcopy(pretrained)
    tuning = Tuning(network, "few", norms=False)
    before = copy.deepcopy(network.state_dict())
    optimizer = SGD(tuning.groups(0.1, 0.0), lr=0.1)
    saved = []

    def pack(tensor):
        saved.append(tensor)
        return tensor

    network.train()
    tuning.set_eval()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(torch.randn(4, 3, 64, 64)).square().sum()
    kept_by_few = len(saved)
    loss.backward()
    optimizer.step()
    for name, value in network.state_dict().items():
        depth = tuning.depth.get(name)
        if depth is None:  # statistics: all norms sleep
            assert torch.equal(value, before[name]), name
        else:
            assert torch.equal(value, before[name]) == (depth < tuning.first), name
    saved.clear()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        copy.deepcopy(pretrained).train()(torch.randn(4, 3, 64, 64))
    assert kept_by_few < len(saved) / 3


def test_statistics_of_frozen_norms_are_not_estimated_anew():
    network = Compact(2, (8, 8), (4, 6))
    Tuning(network, "few", norms=False)
    before = copy.deepcopy(network.state_dict())
    refresh_batch_norm(network, [torch.randn(8, 3, 8, 8)])
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("strategy", "first", "rates"),
    [
        ("few", 4, [1, 0.5]),
        ("many", 2, [1, 0.5, 0.25, 0.125]),
        ("all", 0, [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]),
    ],
)
def test_rates_fall_with_depth_and_stages_wake_from_the_head(pretrained, strategy, first, rates):
    network = copy.deepcopy(pretrained)
    tuning = Tuning(network, strategy, layer_decay=0.5, unfreeze=0.3)
    assert (tuning.first, tuning.top) == (first, 5)
    groups = tuning.groups(1.0, 0.1)
    by_rate = {group["lr"]: group["wakes"] for group in groups}
    assert list(by_rate) == rates
    assert next(iter(by_rate.values())) == 0 and max(by_rate.values()) == pytest.approx(0.3)
    learning = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert sum(p.numel() for group in groups for p in group["params"]) == learning
    assert all(p.ndim > 1 for group in groups if group["weight_decay"] for p in group["params"])


def test_the_pull_is_a_step_toward_the_source_and_spares_the_head():
    network = Compact(2, (8, 8), (4, 6))
    tuning = Tuning(network, "all", l2_sp=2.0)
    source = {name: p.detach().clone() for name, p in network.named_parameters()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    tuning.toward_source(tuning.groups(0.1, 0.0))  # one fifth of the way back
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            far = 1.0 if name == "head.weight" else 0.8
            torch.testing.assert_close(parameter, source[name] + far, rtol=0, atol=1e-6)


def test_a_staged_network_is_tuned_too():
    network = build("compact", 3, size=(8, 8), widths=(4, 6), stages=("stages.0", "head"))
    tuning = Tuning(network, "few")
    assert isinstance(network.head, nn.Linear) and network.head.weight.requires_grad
    assert not network.backbone.whitening_bias.requires_grad
    assert tuning.depth["head.weight"] == tuning.top == 2
