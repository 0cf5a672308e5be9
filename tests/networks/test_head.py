import pytest
import torch

from polyak.networks.build import build
from polyak.networks.head import head_names, zero_head


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet10t", ("fc",)),
        ("mobilenetv2_100", ("classifier",)),
        ("deit_tiny_distilled_patch16_224", ("head", "head_dist")),
        ("compact", ("head",)),
    ],
)
def test_the_head_is_found_and_starts_even(name, expected):
    network = build(name, 3)
    assert head_names(network) == expected
    untouched = {k: v.clone() for k, v in network.state_dict().items()}
    zero_head(network)
    for key, tensor in network.state_dict().items():
        if key.startswith(tuple(f"{head}." for head in expected)):
            assert not tensor.any()
        else:
            assert torch.equal(tensor, untouched[key])
