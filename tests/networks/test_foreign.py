"""Weights of other programs: the numbers that come out are those of their own network."""

import argparse
import warnings

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from polyak.errors import RefusedError
from polyak.networks import foreign
from polyak.networks.build import build
from polyak.networks.weights import load_weights

SAME = {  # torchvision's name: timm's
    "resnet18": "resnet18",
    "densenet121": "densenet121",
    "mobilenet_v2": "mobilenetv2_100",
    "mnasnet1_0": "mnasnet_100",
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_b3": "efficientnet_b3",
    "convnext_tiny": "convnext_tiny",
    "vit_b_32": "vit_base_patch32_224",
    "regnet_y_400mf": "regnety_004",
    "regnet_y_1_6gf": "regnety_016",
}


def noisy(network):
    """Numbers in every place, so that two that are swapped show."""
    generator = torch.Generator().manual_seed(0)
    for value in network.state_dict().values():
        if value.dtype.is_floating_point and value.ndim < 2:
            value.copy_(0.9 + 0.2 * torch.rand(value.shape, generator=generator))
    return network.eval()


def same_outputs(a, b, size=224):
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        left, right = a(images), b.eval()(images)
    return (left - right).abs().max() < 1e-4 * left.abs().max()


@pytest.mark.parametrize(("theirs", "ours"), SAME.items())
def test_torchvision_s_weights_compute_the_same(theirs, ours, tmp_path):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = noisy(getattr(torchvision.models, theirs)(weights=None))
    torch.save(made.state_dict(), tmp_path / "w.pth")
    network = build(ours, 1000)
    assert not load_weights(network, tmp_path / "w.pth").missing_head
    assert same_outputs(made, network)


@pytest.mark.parametrize("theirs", ["mobilenet_v3_large", "efficientnet_b5", "swin_t", "vgg16"])
def test_what_would_compute_otherwise_is_refused(theirs, tmp_path):
    """Other epsilons or another order of layers: near is not the same."""
    ours = {"swin_t": "swin_tiny_patch4_window7_224", "mobilenet_v3_large": "mobilenetv3_large_100"}
    network = build(ours.get(theirs, theirs), 2)
    state = getattr(torchvision.models, theirs)(weights=None).state_dict()
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(RefusedError, match=r"of \d+ tensors fit: it has|is missing; "):
        load_weights(network, tmp_path / "w.pth")


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return noisy(timm.create_model("resnet18", num_classes=1000))


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "backbone.", "encoder.", "net.", "_orig_mod.",
               "_orig_mod.module.", "module._orig_mod.", "model.backbone.encoder."],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_common_prefix_is_no_part_of_a_name(resnet, prefix, suffix, tmp_path):
    state = {prefix + name: value for name, value in resnet.state_dict().items()}
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    network = build("resnet18", 1000)
    loaded = load_weights(network, path)
    assert not loaded.missing_head and not loaded.skipped and same_outputs(resnet, network, 64)


@pytest.mark.parametrize("wrapper", foreign.WRAPPERS)
@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.pth.tar", "w.ckpt", "w.bin"])
def test_training_checkpoints_are_unwrapped(resnet, wrapper, name, tmp_path):
    content = {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, model="resnet18"),
        "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.1}]},
        wrapper: {f"module.{k}": v for k, v in resnet.state_dict().items()},
    }
    torch.save(content, tmp_path / name)
    network = build("resnet18", 1000)
    load_weights(network, tmp_path / name)
    assert same_outputs(resnet, network, 64)


def test_lightning_s_checkpoint_brings_more_than_the_network(resnet, tmp_path):
    state = {f"model.{k}": v for k, v in resnet.state_dict().items()} | {
        "loss.weight": torch.ones(3)
    }
    content = {"pytorch-lightning_version": "2.5", "state_dict": state, "loops": {}, "epoch": 1}
    torch.save(content, tmp_path / "last.ckpt")
    network = build("resnet18", 1000)
    assert load_weights(network, tmp_path / "last.ckpt").skipped == 1
    assert same_outputs(resnet, network, 64)


def test_a_self_supervised_backbone_with_a_projection(resnet, tmp_path):
    state = {f"encoder.{k}": v for k, v in resnet.state_dict().items() if not k.startswith("fc.")}
    state |= {"projector.0.weight": torch.ones(8, 512), "projector.0.bias": torch.ones(8)}
    torch.save(state, tmp_path / "w.pth")
    network = build("resnet18", 5)
    loaded = load_weights(network, tmp_path / "w.pth")
    assert loaded.missing_head and loaded.skipped == 2
    assert torch.equal(network.conv1.weight, resnet.conv1.weight)
    assert not network.fc.weight.any()


def test_the_original_efficientnet_lite_under_any_name(tmp_path):
    from polyak.networks import pretrained

    one = pretrained.registry()[0]
    path = tmp_path / "lite.pth"
    path.write_bytes(one.path().read_bytes())
    mine, theirs = build(one.model, 1000), build(one.model, 1000)
    load_weights(mine, path)
    one.load(theirs)
    assert all(torch.equal(a, b) for a, b in zip(
        mine.state_dict().values(), theirs.state_dict().values(), strict=True))  # fmt: skip


def test_a_misfit_names_both_sides_and_the_network_it_would_fit(resnet, tmp_path):
    torch.save(resnet.state_dict(), tmp_path / "w.pth")
    network = build("mobilenetv2_100", 2)
    before = network.conv_stem.weight.clone()
    message = (
        r"0 of 260 tensors fit: it has conv1.weight, the network conv_stem.weight; "
        r"it would fit resnet18\."
    )
    with pytest.raises(RefusedError, match=message):
        load_weights(network, tmp_path / "w.pth")
    assert torch.equal(network.conv_stem.weight, before)


@pytest.mark.parametrize(
    ("stem", "model"),
    [
        ("resnet50-0676ba61", "resnet50"),
        ("mobilenet_v2-b0353104", "mobilenetv2_100"),
        ("efficientnet-lite1-77cc7160", "tf_efficientnet_lite1"),
        ("resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("resnet18.pth", "resnet18"),
        ("my-weights", "my-weights"),
    ],
)
def test_a_file_s_name_says_its_model(stem, model):
    assert foreign.model_of_file(stem) == model


@pytest.mark.parametrize(
    ("model", "first"),
    [
        # the names of efficientnet-pytorch: TensorFlow's padding and epsilon, which b0 has not
        ("efficientnet_b0", "_conv_stem.weight"),
        ("mobilenetv2_100", "_conv_stem.weight"),
        ("tf_efficientnet_lite0", "features.0.0.weight"),
    ],
)
def test_an_order_that_fits_is_not_yet_the_same_network(model, first, tmp_path):
    network = build(model, 1000)
    kinds = [name.rpartition(".")[2] for name in network.state_dict()]
    names = [first, *(f"part{i}.{kind}" for i, kind in enumerate(kinds[1:]))]
    torch.save(dict(zip(names, network.state_dict().values(), strict=True)), tmp_path / "w.pth")
    with pytest.raises(RefusedError, match="0 of "):
        load_weights(network, tmp_path / "w.pth")


def test_a_vit_for_another_size_has_timm_s_resampled_places(tmp_path):
    name = "vit_tiny_patch16_224"
    torch.manual_seed(0)
    source = timm.create_model(name, num_classes=5)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    network = build(name, 5, img_size=96)
    load_weights(network, tmp_path / "w.pth")
    expected = timm.create_model(
        name, pretrained=True, num_classes=5, img_size=96,
        pretrained_cfg_overlay={"file": str(tmp_path / "w.pth"), "num_classes": 5},
    )  # fmt: skip
    images = torch.rand(2, 3, 96, 96)
    assert torch.equal(network.eval()(images), expected.eval()(images))


@pytest.mark.parametrize("first", ["conv1.weight", "class_token", "features.0.0.weight"])
def test_a_table_of_too_many_tensors_is_left_alone(first):
    """Each way of reading would go through all of them, for each network that is tried."""
    names = [first, *(f"module.model.net.{i}.weight" for i in range(20_000))]
    table = dict.fromkeys(names, torch.zeros(1))
    network = build("mobilenetv2_100", 2)
    assert foreign.adapted(network, table) == table
    assert foreign.network_of(table) is None


def test_a_network_that_cannot_be_sketched_is_passed_over(monkeypatch):
    """An older timm's RegNet computes its widths with tensors, of which a sketch has no values."""
    make = foreign.zoo().create_model

    def older(name, **options):
        if torch.get_default_device().type == "meta" and name.startswith("regnet"):
            raise NotImplementedError("aten::_unique2")
        return make(name, **options)

    monkeypatch.setattr(foreign.zoo(), "create_model", older)
    table = {f"module.{n}": t for n, t in build("densenet121", 2).state_dict().items()}
    assert foreign.network_of(table) == "densenet121"


def test_many_prefixes_end(resnet):
    table = {f"{'module.' * (i % 9)}{i}": torch.zeros(1) for i in range(900)}
    own = foreign.backbone_tensors(resnet)
    assert foreign.fitting(own, foreign.adapted(resnet, table)) == 0
