"""Snapshots: a member at each cycle's end, one file for all, and the table that chooses."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from jobs import resumes_exactly, run, steps
from polyak import load
from polyak.data.images import Images
from polyak.errors import RefusedError, UsageError
from polyak.recipe import make

CYCLES = {"ensemble": "snapshots", "schedule": "sgdr", "cycles": 3, "epochs": 6, "average": 0}


def test_a_member_at_each_cycle_s_end(job, tmp_path):
    end = run(job(**CYCLES))
    files = sorted((tmp_path / "runs/job/checkpoints").glob("snapshot-*"))
    assert [file.name[9] for file in files] == ["1", "2", "3"]
    states = [load_file(file) for file in files]
    assert not all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    # without an average the last snapshot is what the run ended with
    with safe_open(tmp_path / "runs/job/model.safetensors", "pt") as file:
        for name, value in states[2].items():
            assert torch.equal(file.get_tensor(f"weights/{name}"), value)
    assert {"weights", "best snapshot", "3 snapshots"} <= set(end["candidates"])


@pytest.mark.parametrize("number", [2, 7, 12, 17])
def test_left_within_a_cycle_and_resumed_is_never_left(job, tmp_path, number):
    choices = CYCLES | {"average": 0.1}
    resumes_exactly(job, tmp_path / "runs", number, **choices)


def test_a_damaged_snapshot_is_refused(job, tmp_path):
    steps(job(**CYCLES), 12)
    file = tmp_path / "runs/job/checkpoints/snapshot-1.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(RefusedError, match="snapshot-1"):
        run(job(**CYCLES), resume=True)


def test_checkpoints_stay_two(job, tmp_path):
    run(job(**CYCLES))
    folder = tmp_path / "runs/job/checkpoints"
    assert len(list(folder.glob("step-*"))) == 2  # the two newest


def test_members_of_a_file_are_the_mean(job, tmp_path):
    run(job(**CYCLES))
    said = load(tmp_path / "runs/job", kind="members")
    assert len(said.members) >= 2
    pictures = Images.of(np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8))
    inputs = torch.tensor(pictures.block(np.arange(5))[0]).permute(0, 3, 1, 2) / 255
    page = said.preprocessing
    mean, std = (torch.tensor(v)[:, None, None] for v in (page.mean, page.std))
    with torch.no_grad():
        logits = [m.network((inputs - mean) / std).double() for m in said.members]
    assert any(m.temperature != 1 for m in said.members)  # each is calibrated before the mean
    parts = [
        (own / m.temperature).softmax(1) * m.weight
        for own, m in zip(logits, said.members, strict=True)
    ]
    whole = sum(m.weight for m in said.members)
    odds = (sum(parts) / whole).numpy() ** (1 / said.temperature)
    want = odds / odds.sum(1, keepdims=True)
    got, _ = said.probabilities(pictures, views="one")
    assert np.allclose(got, want, atol=1e-4)


def test_the_table_tells_price_and_figures(job, tmp_path):
    end = run(job(**CYCLES, views="flip"))
    rows = [row for row in end["table"] if "refused" not in row]
    assert sum(row["chosen"] for row in rows) == 1
    passes = {(row["name"], row["views"]): row["passes"] for row in rows}
    assert passes["weights", "one"] == 1 and passes["weights", "flip"] == 2
    assert passes["3 snapshots", "one"] == 3 and passes["3 snapshots", "flip"] == 6
    for row in rows:
        assert row["split"] == "val"
        for figure in ("accuracy", "nll", "ece"):
            assert row[figure]["low"] <= row[figure]["value"] <= row[figure]["high"]
    with safe_open(tmp_path / "runs/job/model.safetensors", "np") as file:
        assert json.loads(file.metadata()["polyak"])["table"] == json.loads(
            json.dumps(end["table"])
        )


def test_predict_tells_disagreement(job, tmp_path, tiny_folder):
    run(job(**CYCLES))
    said = load(tmp_path / "runs/job", kind="members").predict(tiny_folder / "square 0")
    assert said.disagreement is not None and said.disagreement.shape == (24,)
    assert (said.disagreement >= 0).all() and (said.disagreement < 1).all()
    assert load(tmp_path / "runs/job", kind="weights").predict(tiny_folder).disagreement is None


def test_snapshots_want_a_rate_that_comes_back(job):
    with pytest.raises(UsageError, match="sgdr"):
        run(job(ensemble="snapshots", schedule="cosine"))
    with pytest.raises(UsageError, match="no ensemble"):
        make(ensemble="forest")


def test_several_averages_stand_for_choice(job, tmp_path):
    end = run(job(average=(0.05, 0.5)))
    assert {"average 0.05", "average 0.5", "weights"} <= set(end["candidates"])
    shutil.rmtree(tmp_path / "runs/job")
    one = run(job(average=0.5))
    # an average does not depend on who else is kept
    assert one["candidates"]["average"] == end["candidates"]["average 0.5"]
