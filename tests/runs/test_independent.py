"""Independent members: one split, other draws, one model file; resumed where they were left."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from jobs import results, run, steps, train
from polyak import load
from polyak.errors import UsageError
from polyak.recipe import make

TWO = {"ensemble": "independent:2", "epochs": 2}


def test_members_share_the_split_and_nothing_else(job, tmp_path):
    end = run(job(**TWO))
    folders = [tmp_path / "runs/job/members" / name for name in "01"]
    splits = [(folder / "split.csv").read_text() for folder in folders]
    assert splits[0] == splits[1]
    models = [load_file(folder / "model.safetensors") for folder in folders]
    assert not np.array_equal(models[0]["weights/head.weight"], models[1]["weights/head.weight"])
    names = {row["name"] for row in end["table"]}
    assert names >= {"best member", "2 members", "uniform soup"}
    shares = {row["name"]: row["share"] for row in end["table"] if "refused" not in row}
    assert (shares["best member"], shares["2 members"]) == (0.5, 1.0)
    assert len(load(tmp_path / "runs/job", kind="members").members) == 2
    assert "2 members" in (tmp_path / "runs/job/report.html").read_text()
    assert (tmp_path / "runs/job/split.csv").read_text() == splits[0]


def test_left_and_resumed_is_never_left(job, tmp_path):
    run(job(name="whole", **TWO))
    steps(job(**TWO), 9)  # of 6 + 6: in the second member
    assert (tmp_path / "runs/job/members/1/config.yaml").exists()
    assert [r["kind"] for r in train(job(**TWO), resume=True)][-1] == "end"
    assert results(tmp_path / "runs/whole") == results(tmp_path / "runs/job")


def test_progress_is_of_the_whole(job):
    progress = [r["progress"] for r in train(job(**TWO)) if r["kind"] == "step"]
    assert progress == sorted(progress)
    assert progress[0] == 0 and 0.9 < progress[-1] < 1


def test_a_member_alone_is_that_member(job, tmp_path):
    """What another machine trains with --member 1 is member 1, to the bit."""
    run(job(**TWO))
    run(job(name="alone", epochs=2, member=1))
    member, alone = (tmp_path / f"runs/{n}/model.safetensors" for n in ("job/members/1", "alone"))
    a, b = load_file(member), load_file(alone)
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_the_header_holds_the_table(job, tmp_path):
    end = run(job(**TWO))
    with safe_open(tmp_path / "runs/job/model.safetensors", "np") as file:
        header = json.loads(file.metadata()["polyak"])
    assert header["table"] == json.loads(json.dumps(end["table"]))


def test_a_budget_too_small_for_all_is_told(job):
    with pytest.raises(UsageError, match="10 s"):
        run(job(ensemble="independent:5", epochs=None, budget="30s"))
    with pytest.raises(UsageError, match="independent:5"):
        make(ensemble="independent:many")


def test_a_process_a_member(job, tmp_path, tiny_folder):
    """Under torchrun each process trains whole members: the same bytes as one after another."""
    run(job(**TWO))
    told = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--master-port", "29617", "-m", "polyak", "train", str(tiny_folder), "--model",
            "compact", "--widths", "8", "8", "--epochs", "2", "--batch-size", "16", "--size", "16",
            "--threads", "1", "--save-every", "0", "--average", "0.2", "--val", "0.25",
            "--out", str(tmp_path / "two"), "--name", "job", "--ensemble", "independent:2",
            "--precision", "float32",
            "--device", "cpu",
        ],
        capture_output=True, text=True, timeout=240, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    for number in "01":
        one, two = (
            load_file(folder / f"job/members/{number}/model.safetensors")
            for folder in (tmp_path / "runs", tmp_path / "two")
        )
        assert all(np.array_equal(one[name], two[name]) for name in one)
    assert (tmp_path / "two/job/model.safetensors").exists()
