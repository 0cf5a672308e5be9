"""Stages: what is read off a network is what the network computes, whatever its kind."""

import pytest
import torch
from torch import nn

from polyak.errors import RefusedError, UsageError
from polyak.networks import Compact, Staged, build, folded, from_spec, spec, stages, tapped
from polyak.networks.head import set_head
from polyak.networks.preprocessing import preprocessing
from polyak.networks.stages import input_size, pooled

KINDS = ["mobilenetv2_050", "resnet18", "vit_tiny_patch16_224", "levit_128s"]


@pytest.fixture(scope="module", params=KINDS)
def network(request):
    torch.manual_seed(0)
    network = build(request.param, 3).eval()
    for module in network.modules():  # statistics and scales that folding can get wrong
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return network


def pictures(network, count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, *input_size(network), generator=generator)


def test_the_last_stage_is_what_the_head_reads(network):
    images = pictures(network)
    with torch.no_grad(), tapped(network, ["head"]) as found:
        logits = network(images)
        features = network.forward_head(network.forward_features(images), pre_logits=True)
    if isinstance(features, tuple):  # levit has two heads, each with a norm of its own
        features = torch.cat(features, 1)
    assert found["head"].shape[1] == stages(network)["head"]
    if hasattr(network, "head_dist"):
        return
    torch.testing.assert_close(found["head"], features, rtol=0, atol=1e-5)
    head = network.get_classifier()
    torch.testing.assert_close(head(found["head"]), logits, rtol=0, atol=1e-5)


def test_stages_are_pooled_from_the_networks_own_maps(network):
    images = pictures(network)
    widths = stages(network)
    with torch.no_grad(), tapped(network, list(widths)) as found:
        network(images)
    maps = network.forward_intermediates(images, intermediates_only=True)
    names = [row["module"] for row in network.feature_info]
    compared = 0
    for name, output in zip(names, maps, strict=False):
        if name in widths:
            compared += 1
            both = torch.cat([output.mean((2, 3)), output.amax((2, 3))], 1)
            own = found[name][:, -both.shape[1] :]  # a class token stands before
            torch.testing.assert_close(own, both, rtol=0, atol=1e-5)
    assert compared >= 3
    assert [found[name].shape[1] for name in widths] == list(widths.values())


def test_folding_keeps_every_stage(network):
    images, names = pictures(network), list(stages(network))
    short = folded(network)
    with torch.no_grad(), tapped(network, names) as before, tapped(short, names) as after:
        network(images), short(images)
    for name in names:
        most = 1e-5 * max(1.0, float(before[name].abs().max()))
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=most)
    convolutional = any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    left = sum(isinstance(module, nn.BatchNorm2d) for module in short.modules())
    assert left < 5 if convolutional else left == 0


def test_what_cannot_be_folded_is_left():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            self.pretrained_cfg = {"input_size": (3, 8, 8)}
            nn.init.constant_(self.norm.running_var, 4.0)

        def forward(self, x):  # the convolution's output is used beside the norm
            x = self.convolution(x)
            return (x + self.norm(x)).mean((2, 3))

    network = Twice().eval()
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(folded(network)(images), network(images))


def test_tokens_are_pooled_apart_from_their_prefix():
    tokens = torch.tensor([[[9.0], [1.0], [3.0]]])
    assert pooled(tokens, prefix=1).tolist() == [[9.0, 2.0, 3.0]]
    assert pooled(3 * tokens).tolist() == [[13.0, 27.0]]
    maps = torch.arange(6.0).view(1, 1, 2, 3)
    assert pooled(maps, channels_last=True).tolist() == [[1.5, 2.5, 3.5, 3.0, 4.0, 5.0]]


def test_a_staged_network_is_rebuilt_from_its_description():
    how = {"size": (8, 8), "widths": (4, 6), "stages": ("stages.0", "head")}
    network = build("compact", 3, **how)
    twin = from_spec(spec("compact", 3, **how))
    twin.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 8, 8)
    assert isinstance(twin, Staged)
    torch.testing.assert_close(twin.eval()(images), network.eval()(images), rtol=0, atol=0)
    for wrong in (["nowhere"], [], ["head", "head"], "head.weight", [1]):
        with pytest.raises((RefusedError, UsageError)):
            from_spec({"name": "compact", "classes": 2, "options": {"stages": wrong}})


def test_a_staged_networks_head_and_preprocessing_are_found():
    network = build("mobilenetv2_050", 2, stages=("blocks.0", "head"))
    width = network.head.in_features
    assert set_head(network, torch.ones(2, width).numpy(), torch.zeros(2).numpy())
    assert not set_head(network, torch.ones(2, width + 1).numpy(), torch.zeros(2).numpy())
    assert preprocessing(network).size == (224, 224)


def test_hooks_do_not_stay():
    network = Compact(2, (8, 8), (4, 6))
    with tapped(network, list(stages(network))) as found:
        network(torch.rand(1, 3, 8, 8))
    found.clear()
    network(torch.rand(1, 3, 8, 8))
    assert not found
