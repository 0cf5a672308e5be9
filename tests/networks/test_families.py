"""Thirty families of timm: a step from scratch, a probe and an export each, or one clear line."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from polyak import cli

FAMILIES = (
    "beit_base_patch16_224", "cait_xxs24_224", "coat_lite_tiny", "coatnet_nano_rw_224",
    "convit_tiny", "convnext_atto", "crossvit_tiny_240", "davit_tiny", "deit_tiny_patch16_224",
    "densenet121", "eca_nfnet_l0", "edgenext_xx_small", "efficientformer_l1",
    "efficientformerv2_s0", "efficientnet_b0", "eva02_tiny_patch14_224", "fastvit_t8",
    "focalnet_tiny_srf", "ghostnet_050", "gmlp_s16_224", "hrnet_w18_small", "levit_128s",
    "maxvit_tiny_rw_224", "mixer_s32_224", "mobilenetv4_conv_small", "mobilevit_xxs",
    "pit_ti_224", "poolformer_s12", "pvt_v2_b0", "regnetx_002", "repvgg_a0", "resmlp_12_224",
    "resnet10t", "rexnet_100", "swin_tiny_patch4_window7_224", "tf_efficientnet_lite0",
    "vgg11_bn", "vit_tiny_patch16_224", "xcit_nano_12_p16_224",
)  # fmt: skip
REFUSALS = {64, 65, 66, 76}  # exit codes of what is told in one line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of six images."""
    there, draw = tmp_path_factory.mktemp("families"), np.random.default_rng(0)
    for label in range(2):
        (there / str(label)).mkdir()
        for number in range(6):
            pixels = draw.integers(0, 128, (80, 72, 3), dtype=np.uint8)
            pixels[..., label] += 100
            Image.fromarray(pixels).save(there / str(label) / f"{number}.png")
    return there


def typed(capsys, *words):
    """Run a command: done, or refused in one line; never a mistake of polyak's own."""
    code = cli.main([str(word) for word in words])
    line = capsys.readouterr().err
    assert code == 0 or (code in REFUSALS and line.count("\n") == 1), (code, line)
    return "" if code == 0 else line.strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_trains_is_probed_and_exported_or_refused_in_a_line(
    name, folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    common = "--batch-size", 8, "--threads", 1, "--augment", "none", "--views", "one"
    scratch = typed(
        capsys, "train", folder, "--model", name, "--epochs", 1, *common,
        "--out", tmp_path / "runs", "--name", "scratch",
    )  # fmt: skip
    assert (tmp_path / "runs/scratch").exists() != bool(scratch)  # a refusal leaves nothing behind
    torch.manual_seed(0)
    weights = tmp_path / f"{name}.safetensors"
    state = timm.create_model(name, num_classes=3).state_dict()
    save_file({key: value.clone().contiguous() for key, value in state.items()}, weights)
    probe = typed(
        capsys, "train", folder, "--weights", weights, *common[2:4], "--views", "one",
        "--out", tmp_path / "runs", "--name", "probe",
    )  # fmt: skip
    export = "no model"
    for run in ("probe", "scratch"):
        if (tmp_path / f"runs/{run}/model.safetensors").exists():
            out = tmp_path / "model.onnx"
            export = typed(capsys, "export", tmp_path / f"runs/{run}", "--to", "onnx", "--out", out)
            break
    print(f"{name} | {scratch or 'trained'} | {probe or 'probed'} | {export or 'exported'}")
