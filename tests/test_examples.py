"""The examples and the notebook run as they stand, and come to what they promise."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
EXAMPLES = sorted((HOUSE / "examples").glob("*.py"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples_are_short(file):
    assert len(file.read_text().splitlines()) < 40


def test_a_plain_loop(capsys):
    runpy.run_path(str(HOUSE / "examples/plain_pytorch.py"))
    raw, averaged = re.findall(r"([\d.]+)%", capsys.readouterr().out)
    assert float(raw) > 94
    assert float(averaged) > 94


def test_snapshots_of_a_plain_loop(capsys):
    runpy.run_path(str(HOUSE / "examples/snapshot_ensemble.py"))
    rows = re.findall(r"(\w+)(?: \(.+\))?: ([\d.]+)%, NLL ([\d.]+)", capsys.readouterr().out)
    assert [name for name, _, _ in rows] == ["last", "mean", "soup"]
    assert all(float(right) > 90 for _, right, _ in rows)
    last, mean, soup = (float(nll) for _, _, nll in rows)
    assert mean < last - 0.01
    assert soup < last + 0.02  # the snapshots of this loop lie in one basin


@pytest.mark.filterwarnings("ignore")  # timm leaves files to the garbage collector
def test_timm(tiny_folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["with_timm.py", str(tiny_folder)])
    runpy.run_path(str(HOUSE / "examples/with_timm.py"))
    losses = re.findall(r"batch ([\d.]+)", capsys.readouterr().out)
    assert len(losses) == 3


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_lightning(capsys):
    pytest.importorskip("lightning")
    runpy.run_path(str(HOUSE / "examples/with_lightning.py"))
    (right,) = re.findall(r"weights: ([\d.]+)%", capsys.readouterr().out)
    assert float(right) > 85


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((HOUSE / "docs/first_steps.ipynb").read_text())
    assert notebook["nbformat"] == 4
    world: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "committed without outputs"
            exec("".join(cell["source"]), world)  # our own file
    assert world["run"].figures.accuracy.value > 0.9
