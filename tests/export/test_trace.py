"""A .pt2 says what polyak says, loaded by torch alone."""

import json
import subprocess
import sys

import numpy as np
import pytest

from classifiers import CLASSES, made, mixed, some_images
from polyak.data import Images
from polyak.errors import UsageError
from polyak.export import to_torch
from polyak.export.trace import traced
from polyak.model import Classifier, Member
from polyak.networks import Staged
from polyak.networks.build import build, spec

ALONE = """
import json, sys, numpy as np, torch
files = {"polyak.json": ""}
with open(sys.argv[1], "rb") as file:
    module = torch.export.load(file, extra_files=files).module()
images = np.load(sys.argv[2])
said = [module(torch.from_numpy(images[name][None]))[0].tolist() for name in images.files]
assert "polyak" not in sys.modules
print(json.dumps([said, json.loads(files["polyak.json"])]))
"""


def test_torch_alone_loads_an_ensemble(tmp_path):
    one, images = mixed(), some_images(10)
    found = to_torch(one, tmp_path / "m.pt2")
    assert found.same == 64 and found.difference < 1e-4
    np.savez(tmp_path / "p.npz", *images)
    line = [sys.executable, "-W", "ignore", "-c", ALONE, "m.pt2", "p.npz"]
    child = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert child.returncode == 0, child.stderr
    said, told = json.loads(child.stdout)
    assert np.abs(np.array(said) - one.probabilities(Images.of(images))[0]).max() < 1e-4
    assert tuple(json.loads(told["classes"])) == CLASSES


def test_a_head_on_several_stages_is_traced(tmp_path):
    network = build("resnet10t", 3, stages=["layer2", "head"])
    assert isinstance(network, Staged)
    plain = made("resnet10t", 32)
    described = spec("resnet10t", 3, stages=["layer2", "head"])
    one = Classifier([Member(network, described, CLASSES, plain.preprocessing)])
    assert to_torch(one, tmp_path / "m.pt2").same == 64


def test_bare(tmp_path):
    assert to_torch(made(temperature=2.0), tmp_path / "m.pt2", bare=True).difference < 1e-4


def test_a_network_that_cannot_be_traced_is_named():
    one = made()
    one.members[0].network.forward = lambda x: (x.sum().item() and x) or x
    with pytest.raises(UsageError, match="cannot trace the network: compact"):
        traced(one)
