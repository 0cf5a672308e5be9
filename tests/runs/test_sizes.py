"""Networks that were made for images of one size, from scratch: their own size, or made for it."""

import pytest

from jobs import run
from polyak import cli, load
from polyak.data import Images, find, scan, split
from polyak.errors import UsageError
from polyak.recipe import make
from polyak.recipe.resolve import resolve

VIT = "vit_tiny_patch16_224"


@pytest.fixture
def vit(tiny_folder, tmp_path):
    def recipe(**choices):
        return make(**{
            "data": str(tiny_folder), "model": VIT, "threads": 1, "epochs": 1, "batch_size": 32,
            "val": 0.25, "out": str(tmp_path / "runs"), "name": "job", **choices,
        })  # fmt: skip

    return recipe


def test_left_open_the_size_is_the_networks_own(vit, tiny_folder):
    resolved = resolve(vit(), split(scan(find(str(tiny_folder)))))
    assert resolved.size == 224 and resolved.reasons["size"] == f"{VIT} takes no other"


def test_an_asked_size_makes_the_network_for_it(vit, tiny_folder, tmp_path):
    end = run(vit(size=32))
    assert end["evaluation"]["n"] == 24
    model = load(tmp_path / "runs/job")  # built again from the file alone
    assert model.spec["options"]["img_size"] == 32 and model.preprocessing.size == (32, 32)
    assert model.network.pos_embed.shape[1] == 1 + (32 // 16) ** 2
    images = Images.open(scan(find(str(tiny_folder))), budget=0)
    assert model.probabilities(images)[0].shape == (96, 4)


def test_a_size_that_cannot_be_is_refused_before_a_run_directory_is_made(vit, tmp_path):
    with pytest.raises(UsageError, match=f"--size 8: {VIT} was made for 224.*leave --size away"):
        run(vit(size=8))  # less than a patch
    assert not (tmp_path / "runs/job").exists()


def test_on_the_command_line_it_is_one_line_and_the_corrected_command_runs(
    vit, tiny_folder, tmp_path, capsys
):
    words = ["train", str(tiny_folder), "--model", VIT, "--epochs", "1", "--batch-size", "32",
             "--threads", "1", "--out", str(tmp_path / "runs"), "--name", "job"]  # fmt: skip
    assert cli.main([*words, "--size", "8"]) == 64
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main([*words, "--size", "16"]) == 0
