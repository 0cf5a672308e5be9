import json

import numpy as np
import pytest
import torch
from torch import nn

from polyak.networks.compact import Compact, _patch_covariance

SIZES = [
    (8, 8),
    (9, 11),
    (12, 12),
    (16, 16),
    (28, 28),
    (32, 32),
    (32, 64),
    (47, 47),
    (48, 48),
    (64, 64),
]


def pictures(n=64, size=(32, 32), seed=0):
    noise = torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1)  # neighbours alike


@pytest.mark.parametrize("size", SIZES)
def test_every_size_keeps_room_for_its_convolutions(size):
    network = Compact(5, size, widths=(8, 8, 8))
    sides = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _l, inputs, _o: sides.append(inputs[0].shape[2:]))
    assert network(pictures(2, size)).shape == (2, 5)
    assert min(min(side) for side in sides) >= 3
    assert max(max(side) for side in sides) <= 63


def test_a_64_pixel_image_costs_what_one_of_32_does():
    assert Compact(2, (64, 64)).stages[0][0](torch.rand(1, 24, 32, 32)).shape[2:] == (32, 32)
    network, seen = Compact(2, (64, 64)), []
    network.stages[0].register_forward_hook(lambda _l, inputs, _o: seen.append(inputs[0].shape))
    network(pictures(1, (64, 64)))
    assert seen == [(1, 24, 32, 32)]


@pytest.mark.parametrize("size", [(32, 32), (64, 64)])
def test_whitened_patches_have_no_correlation_and_unit_variance(size):
    network, images = Compact(2, size), pictures(200, size)
    network.whiten(images, eps=0.0)
    out = torch.nn.functional.conv2d(images, network.whitening, stride=network.stride)
    covariance = np.cov(out[:, :12].permute(1, 0, 2, 3).reshape(12, -1).numpy().astype(float))
    np.testing.assert_allclose(covariance, np.eye(12), atol=1e-4)
    assert torch.equal(out[:, 12:], -out[:, :12])


def test_grey_images_are_whitened_without_amplified_rounding():
    network = Compact(2, (8, 8))
    grey = pictures(500, (8, 8))[:, :1].expand(-1, 3, -1, -1)
    network.whiten(grey)
    used = network.whitening.flatten(1).abs().amax(1) > 0
    assert used.sum() == 8  # 2x2 pixels, both signs; the other eight directions are colour
    assert network.whitening.abs().max() < 100


def test_whitening_is_never_learnt_and_moves_no_gradient():
    network = Compact(3)
    network.whiten(pictures())
    before = network.whitening.clone()
    optimizer = torch.optim.SGD(network.parameter_groups(0.1, 0.1), momentum=0.9)
    network(pictures(8)).logsumexp(1).sum().backward()
    optimizer.step()
    assert torch.equal(network.whitening, before)
    assert network.whitening_bias.grad is not None
    assert network.whitening_bias.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "images",
    [
        torch.rand(8, 1, 32, 32),
        torch.rand(3, 32, 32),
        torch.full((4, 3, 32, 32), float("nan")),
        torch.rand(1, 3, 3, 3),
    ],
    ids=["grey", "one image", "nan", "too few"],
)
def test_whiten_refuses_what_it_cannot_use(images):
    with pytest.raises(ValueError, match=r"whiten|finite"):
        Compact(2).whiten(images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 1}, "at least 2"),
        ({"classes": 2, "size": (7, 32)}, "at least 8"),
        ({"classes": 2, "widths": ()}, "widths"),
        ({"classes": 2, "widths": (8, 0)}, "widths"),
        ({"classes": 2, "widths": (8, 10**9)}, "4096"),
        ({"classes": 2, "widths": (8,) * 9}, "1 to 8 stages"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Compact(**arguments)


def test_equal_seeds_give_equal_networks():
    def make(seed):
        torch.manual_seed(seed)
        return Compact(4, widths=(8, 8)).state_dict()

    first, second, other = make(0), make(0), make(1)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_a_stage_starts_by_passing_its_channels_through():
    network = Compact(2, widths=(32, 40, 16))
    x = torch.rand(2, 24, 9, 9)
    torch.testing.assert_close(network.stages[0][0](x)[:, :24], x)
    x = torch.rand(2, 40, 5, 5)  # fewer out than in: the first channels go on
    torch.testing.assert_close(network.stages[2][0](x), x[:, :16])


def test_state_round_trips_whitening_included():
    source, target = Compact(3, (16, 16), (8, 8)), Compact(3, (16, 16), (8, 8))
    source.whiten(pictures(64, (16, 16)))
    source(pictures(64, (16, 16)))  # moves the running statistics
    target.load_state_dict(source.state_dict())
    images = pictures(4, (16, 16), seed=1)
    assert torch.equal(source.eval()(images), target.eval()(images))


def test_normalisation_carries_no_learnt_scale_but_a_bias():
    norms = [m for m in Compact(2).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 6
    assert not any(norm.weight.requires_grad for norm in norms)
    assert all(norm.bias.requires_grad and bool((norm.weight == 1).all()) for norm in norms)


def test_groups_hold_every_learnt_parameter_once_and_decay_alike():
    network = Compact(7)
    groups = network.parameter_groups(0.25, weight_decay=0.002, bias_factor=50)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    assert [group["lr"] for group in groups] == [0.25, 12.5]
    assert [group["lr"] * group["weight_decay"] for group in groups] == pytest.approx([5e-4, 5e-4])


def test_the_layout_of_memory_does_not_change_the_answer():
    network, images = Compact(3, widths=(8, 16)).eval(), pictures(4)
    network.whiten(pictures())
    expected = network(images)
    network = network.to(memory_format=torch.channels_last)
    got = network(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_it_learns_64_images_by_heart():
    torch.manual_seed(0)
    network, images = Compact(4, (16, 16), (16, 16)), pictures(64, (16, 16))
    labels = torch.arange(64) % 4
    network.whiten(images)
    groups = network.parameter_groups(0.5, 1e-4, bias_factor=8)
    optimizer = torch.optim.SGD(groups, momentum=0.85, nesterov=True)
    for _ in range(60):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (network(images).argmax(1) == labels).all()


def test_its_description_is_plain():
    network = Compact(3, [16, 24], widths=[8])
    assert json.dumps([network.classes, network.size, network.widths]) == "[3, [16, 24], [8]]"


def test_widths_follow_the_time_and_the_images():
    assert Compact.widths_for(750, 540, 45_000) == (32, 128, 128)
    # sixteen times the work: twice as wide (four times the cost an image), four times as long
    assert Compact.widths_for(16 * 750, 540, 45_000) == (64, 256, 256)
    assert Compact.widths_for(750, 16 * 540, 45_000) == (64, 256, 256)
    # a GPU for an hour does not buy what 45,000 images cannot use
    assert Compact.widths_for(50_000, 3600, 45_000) == (64, 256, 256)
    assert Compact.widths_for(1e9, 3600, 720_000) == (128, 512, 512)
    assert Compact.widths_for(0.1, 1, 45_000) == (16, 64, 64)
    few = Compact.widths_for(8000, 100, 1437)
    assert few == (24, 112, 112)


@pytest.mark.parametrize("arguments", [(0, 1, 1), (1, -1, 1), (1, 1, 0), (float("nan"), 1, 1)])
def test_widths_for_nothing_are_refused(arguments):
    with pytest.raises(ValueError, match="above zero"):
        Compact.widths_for(*arguments)


@pytest.mark.parametrize("stride", [1, 2])
def test_whitening_takes_the_covariance_that_torch_does_without_its_copy(stride):
    torch.manual_seed(0)
    images = torch.rand(200, 3, 24, 20)
    patches = images.unfold(2, 2, stride).unfold(3, 2, stride)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).double()
    assert torch.equal(_patch_covariance(images, stride), torch.cov(patches.T))
