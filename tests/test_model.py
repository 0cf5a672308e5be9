"""The model file: what goes in comes out, same content is same bytes, nothing foreign is loaded."""

import json
import resource

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from polyak import load, tensor_file
from polyak.cli import main
from polyak.data.images import Images
from polyak.errors import DataError, RefusedError
from polyak.model import Classifier, Member, save
from polyak.networks.build import build, spec
from polyak.networks.preprocessing import Preprocessing

HOW = {"size": (8, 8), "widths": (4, 4)}
PAGE = Preprocessing((8, 8), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), 1.0)


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    network = build("compact", 3, **HOW)
    network.whiten(torch.rand(64, 3, 8, 8))
    member = Member(network, spec("compact", 3, **HOW), ("a", "고양이", "c\n"), PAGE)
    return Classifier([member], temperature=1.5, views="flip")


@pytest.fixture
def file(classifier, tmp_path):
    state = classifier.network.state_dict()
    save(tmp_path / "m.safetensors", {"weights": state, "average": state}, classifier, "average")
    return tmp_path / "m.safetensors"


def rewrite(file, **changes):
    """Write the file again with other fields in its header, and the hash that belongs to it."""
    with tensor_file.opened(file) as stored:
        header, tensors = stored.facts, {name: stored.tensor(name) for name in stored.shapes}
    tensor_file.write(file, tensors, header | changes)


def test_a_file_is_the_model(classifier, file):
    pixels = Images.of(np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8))
    loaded = load(file)
    assert loaded.classes == classifier.classes
    assert (loaded.temperature, loaded.views) == (1.5, "flip")
    assert loaded.preprocessing == PAGE
    assert np.array_equal(loaded.probabilities(pixels)[0], classifier.probabilities(pixels)[0])


def test_same_content_same_bytes(classifier, file, tmp_path):
    state = classifier.network.state_dict()
    for again in range(5):
        other = tmp_path / f"{again}.safetensors"
        save(other, {"average": state, "weights": state}, classifier, "average")
        assert other.read_bytes() == file.read_bytes()


def test_probabilities_by_hand(classifier):
    """Two views averaged, then the temperature: by numpy, from the network's own logits."""
    pixel = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    x = (pixel / 255 - np.array(PAGE.mean)) / np.array(PAGE.std)
    x = torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.no_grad():
        p = [classifier.network(v).softmax(1).double().numpy() for v in (x, x.flip(3))]
    mean = (p[0] + p[1]) / 2
    want = mean ** (1 / 1.5) / (mean ** (1 / 1.5)).sum()
    assert np.allclose(classifier.probabilities(Images.of(pixel))[0], want, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 99},
        {"chosen": "../weights"},
        {"classes": ["a", "b"]},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"network": {"name": "compact", "classes": 10**9, "options": {}}},
        {"network": {"name": "os.system", "classes": 3, "options": {}}},
        {"network": {"name": "hf-hub:evil/model", "classes": 3, "options": {}}},
        {"network": {"name": "compact", "classes": 3, "options": {"widths": [10**6]}}},
        {"preprocessing": {"size": [8, 8], "mean": [0] * 3, "std": [0] * 3, "fraction": 1}},
        {"preprocessing": {"size": [10**6, 8], "mean": [0] * 3, "std": [1] * 3, "fraction": 1}},
        {"views": 7},
    ],
)  # fmt: skip
def test_an_altered_header_is_refused(file, changes):
    rewrite(file, **changes)
    with pytest.raises(RefusedError) as refused:
        load(file).probabilities(Images.of(np.zeros((1, 8, 8, 3), np.uint8)))
    assert refused.value.exit_code == 76


def test_weights_that_are_not_finite_are_refused(classifier, tmp_path):
    state = classifier.network.state_dict()
    state["head.weight"] = state["head.weight"].clone().fill_(torch.nan)
    save(tmp_path / "m.safetensors", {"weights": state}, classifier, "weights")
    with pytest.raises(RefusedError, match="not finite"):
        load(tmp_path / "m.safetensors")


def test_damage_that_leaves_a_file_readable_is_seen(file):
    """One bit of a weight, and one letter of a class name: both files are whole otherwise."""
    content = file.read_bytes()
    for place in (len(content) - 2, content.index(b'[\\"a') + 3):
        damaged = bytearray(content)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(RefusedError, match="not what was written"):
            load(file)
    file.write_bytes(content)
    assert load(file).classes[0] == "a"


def test_a_file_from_before_the_hash_is_loaded(classifier, file):
    with tensor_file.opened(file) as stored:
        header, tensors = stored.facts, {name: stored.tensor(name) for name in stored.shapes}
    save_file(tensors, file, {"polyak": json.dumps(header)})
    pixels = Images.of(np.zeros((2, 8, 8, 3), np.uint8))
    assert np.array_equal(load(file).probabilities(pixels)[0], classifier.probabilities(pixels)[0])
    assert load(file).header == header


def overflowing(network):
    network.head.weight.data.fill_(3e38)


def opposed(network):
    """Finite logits that lie further apart than float32 reaches."""
    network.head.weight.data[0], network.head.weight.data[1] = 2e38, -2e38


def negative_variance(network):
    network.stages[0][2].running_var.fill_(-1.0)


@pytest.mark.parametrize("change", [overflowing, opposed, negative_variance])
def test_answers_that_are_not_finite_are_refused(classifier, tmp_path, capsys, change):
    """Every weight is finite, and the hash is right: an empty class with exit code 0, once."""
    change(classifier.network)
    file = tmp_path / "m.safetensors"
    save(file, {"weights": classifier.network.state_dict()}, classifier, "weights")
    Image.fromarray(np.full((9, 30, 3), 200, np.uint8)).save(tmp_path / "a.png")
    assert main(["predict", str(file), str(tmp_path / "a.png")]) == 76
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "not finite" in said.err
    with pytest.raises(RefusedError, match="not finite"):
        load(file).predict(tmp_path / "a.png")
    assert main(["export", str(file), "--to", "torch-export"]) == 76
    assert not (tmp_path / "m.pt2").exists()


def test_temperatures_that_no_fit_gives_are_refused(file):
    for temperature in (1e-30, 1e30, -1.0):
        rewrite(file, temperature=temperature)
        with pytest.raises(RefusedError, match="temperature"):
            load(file)


@pytest.mark.parametrize(
    "network",
    [
        {"name": "compact", "classes": 1_000_000, "options": {"size": [8, 8], "widths": [4096]}},
        {"name": "vit_giant_patch14_224", "classes": 1_000_000, "options": {}},
        {"name": "vit_tiny_patch16_224", "classes": 1_000_000, "options": {"img_size": 65536}},
    ],
)
def test_a_header_takes_no_memory_that_the_file_does_not_hold(file, network):
    """A network of gigabytes, described in one line."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rewrite(file, network=network, classes=[str(n) for n in range(1_000_000)])
    with pytest.raises(RefusedError, match="in its network"):
        load(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_predicting_reports_what_cannot_be_read(classifier, tmp_path):
    Image.fromarray(np.zeros((9, 30, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no")
    said = classifier.predict(tmp_path)
    assert [name[-5:] for name in said.paths] == ["a.png", "b.png"]
    assert [path[-5:] for path, _ in said.unreadable] == ["b.png"]
    assert said.probabilities[0].sum() == pytest.approx(1)
    assert np.isnan(said.probabilities[1]).all()
    with pytest.raises(DataError, match="no image could be read"):
        classifier.predict(tmp_path / "b.png")
