"""A folder for the hub: timm alone loads it, and its card tells what the model file tells."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from classifiers import CLASSES, made, mixed, some_images
from polyak.data import Images
from polyak.errors import RefusedError, UsageError
from polyak.export import hub, to_hub
from polyak.export.check import said_bare

FIGURE = {"value": 0.954, "low": 0.909, "high": 0.978}
HEADER = {
    "polyak": "0.1.0",
    "recipe": {"weights": "/home/somebody/secret/mobilenetv2_100.safetensors", "views": "flip"},
    "data": {"fingerprint": "ab12", "left_out": 3, "train": 244, "val": 153, "test": 0},
    "evaluation": {"split": "val", "accuracy": FIGURE, "nll": FIGURE, "ece": FIGURE, "n": 153},
}
ALONE = """
import json, sys, numpy as np, timm, torch
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
with torch.inference_mode():
    said = model(torch.from_numpy(np.load(sys.argv[2]))).softmax(1)
assert "polyak" not in sys.modules
config = timm.data.resolve_model_data_config(model)
print(json.dumps([said.tolist(), config, model.pretrained_cfg["label_names"]]))
"""


@pytest.fixture(scope="module")
def one():
    return made("mobilenetv2_050", 32, temperature=1.7, fraction=0.875, header=HEADER)


@pytest.fixture(scope="module")
def folder(one, tmp_path_factory):
    path = tmp_path_factory.mktemp("hub") / "model-hf"
    assert to_hub(one, path).difference < 1e-4
    return path


def test_timm_alone_loads_it(one, folder, tmp_path):
    images, batches = Images.of(some_images(16)), []
    said_bare(one, images, lambda batch: batches.append(batch) or np.zeros((len(batch), 3)))
    np.save(tmp_path / "p.npy", np.concatenate(batches))
    line = [sys.executable, "-W", "ignore", "-c", ALONE, str(folder), str(tmp_path / "p.npy")]
    child = subprocess.run(line, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    said, config, names = json.loads(child.stdout)
    # the temperature is in the last layer: timm's softmax is polyak's calibrated probability
    assert np.abs(np.array(said) - one.probabilities(images)[0]).max() < 1e-4
    page = one.preprocessing
    assert tuple(config["input_size"]) == (3, *page.size)
    assert (tuple(config["mean"]), tuple(config["std"])) == (page.mean, page.std)
    assert (config["crop_pct"], config["interpolation"]) == (0.875, "bilinear")
    assert tuple(names) == CLASSES


def test_the_folder_holds_no_pickle(folder):
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1  # all as the umask says


def test_the_card_tells_data_metrics_limits_and_licence(folder):
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "unknown"
    assert yaml.safe_load(head)["library_name"] == "timm"
    assert "| train | 244 |" in text and "| test |" not in text and "3 files" in text
    assert "| accuracy | 95.40% | 90.90% to 97.80% |" in text
    assert "153 images of val, which also chose" in text
    assert "## Limits" in text
    assert "mobilenetv2&#95;100.safetensors" in text and "does not know" in text
    assert "secret" not in text  # a place on its maker's disk is nobody's business
    assert "<b>" not in text and "고양이" in text


def test_a_licence_is_the_users_word(one, tmp_path):
    to_hub(one, tmp_path / "a", licence="cc-by-4.0")
    _, head, text = (tmp_path / "a/README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "cc-by-4.0" and "`cc-by-4.0`" in text
    with pytest.raises(UsageError, match="--license"):
        to_hub(one, tmp_path / "b", licence="MIT\nevil: yes")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"recipe": {"weights": "hub"}, "data": 7, "evaluation": None},
        {"recipe": {"weights": None}, "evaluation": {"accuracy": {"value": "<script>"}, "n": "#"}},
    ],
)
def test_a_card_of_a_header_that_tells_little(header, tmp_path):
    to_hub(made("resnet10t", 32, header=header), tmp_path / "a")
    text = (tmp_path / "a/README.md").read_text()
    assert "nobody has measured" in text and "does not tell" in text and "<script>" not in text


@pytest.mark.parametrize(
    ("one", "said"),
    [(made(), "compact is polyak's own"), (mixed(), "3 members")],
    ids=["compact", "ensemble"],
)
def test_what_timm_cannot_build_is_refused(one, said, tmp_path):
    with pytest.raises(UsageError, match=f"{said}.*--to onnx"):
        to_hub(one, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(one, folder, tmp_path, monkeypatch):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(UsageError, match="it exists"):
        to_hub(one, folder)
    assert before == {file.name: file.read_bytes() for file in folder.iterdir()}
    other = hub.said_bare  # a loader that sees other numbers
    monkeypatch.setattr(hub, "said_bare", lambda *given: 3 * other(*given))
    with pytest.raises(RefusedError, match="does not say"):
        to_hub(one, tmp_path / "new")
    assert not list(tmp_path.iterdir())
