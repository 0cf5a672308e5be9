"""Two processes follow one: the same global batches, the same gradients, the same end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from jobs import run
from polyak.recipe import make
from polyak.rundir import records as journal

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]


def command(data: Path, out: Path, port: int, *more: str) -> list[str]:
    # layer norm instead of batch norm, whose statistics are each process's own
    return [
        *TORCHRUN, str(port), "-m", "polyak", "train", str(data), "--model", "test_vit",
        "--size", "32", "--batch-size", "16", "--epochs", "2", "--optimizer", "momentum",
        "--learning-rate", "0.05", "--threads", "1", "--val", "0.25", "--out", str(out), "--name",
        "two", "--device", "cpu", "--precision", "float32", *more,
    ]  # fmt: skip


@pytest.fixture
def environment():
    return os.environ | {"OMP_NUM_THREADS": "1"}


def test_two_processes_follow_one(tiny_folder, tmp_path, environment):
    one = make(
        data=str(tiny_folder), model="test_vit", size=32, batch_size=16, epochs=2,
        optimizer="momentum", learning_rate=0.05, threads=1, val=0.25, out=str(tmp_path),
        name="one", device="cpu", precision="float32",
    )  # fmt: skip
    run(one)
    told = subprocess.run(
        command(tiny_folder, tmp_path, 29611),
        capture_output=True, text=True, timeout=240, env=environment,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    assert told.stdout.count("model: ") == 1  # one of them speaks
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert a.keys() == b.keys()
    start = np.concatenate([a[k].ravel() for k in a if k.startswith("weights/")])
    end = np.concatenate([b[k].ravel() for k in b if k.startswith("weights/")])
    assert np.abs(start - end).max() < 2e-5  # float32 sums in another order
    one_val, two_val = (
        [r["val_loss"] for r in journal.records(tmp_path / n) if r["kind"] == "validation"]
        for n in ("one", "two")
    )
    assert np.allclose(one_val, two_val, rtol=1e-4)
    assert one_val[0] != one_val[1]  # and something was learnt on the way


def test_a_signal_to_one_stops_all_and_resumes(tiny_folder, tmp_path, environment):
    more = ("--epochs", "400", "--save-every", "1")
    child = subprocess.Popen(
        command(tiny_folder, tmp_path, 29612, *more),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip
    folder = tmp_path / "two" / "checkpoints"
    for _ in range(600):
        if (folder / "manifest.json").exists() or child.poll() is not None:
            break
        time.sleep(0.2)
    child.send_signal(signal.SIGTERM)  # torchrun passes it on to its processes
    output, _ = child.communicate(timeout=60)
    assert "Kept: all" in output
    records = journal.records(tmp_path / "two")
    assert not any(record["kind"] == "end" for record in records)


TEXTS = """
import sys
from polyak.training import distributed

world = distributed.join("cpu")
for text in ("", "runs/고양이 \\udcff", "x" * 100_000):
    mine = text if world.leads else "another, and of another length"
    assert world.text_from_leader(mine) == text, (world.rank, text[:20])
distributed.leave()
"""


def test_everybody_takes_the_leaders_text(tmp_path, environment):
    (tmp_path / "texts.py").write_text(TEXTS, encoding="utf-8")
    told = subprocess.run(
        [*TORCHRUN, "29631", str(tmp_path / "texts.py")],
        capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]


THREADS = """
import os, sys
from pathlib import Path
from polyak.training import distributed

process = distributed.join("cpu")
process.highest([float(process.rank)])
import torch._dynamo  # as optimizers do, late
distributed.leave()
names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
sys.exit(any("gloo" in name for name in names))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_nothing_of_the_group_outlives_it(tmp_path, environment):
    """A thread of gloo's that still holds a tensor while Python ends aborts the process."""
    (tmp_path / "leave.py").write_text(THREADS)
    told = subprocess.run(
        [*TORCHRUN, "29621", str(tmp_path / "leave.py")],
        capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]


JOINED = """
import json, os, sys
from polyak.training import distributed

world = distributed.join("cpu")
told = {"both.jpg": "gone", f"{world.rank}고양이\\udcff.jpg": "x" * (1 + 50 * world.rank)}
found = world.joined(told)
distributed.leave()
print(json.dumps(sorted((name, len(why)) for name, why in found.items())))
"""


def test_what_any_process_lost_all_know(tmp_path, environment):
    (tmp_path / "joined.py").write_text(JOINED)
    told = subprocess.run(
        [*TORCHRUN, "29622", str(tmp_path / "joined.py")],
        capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    expected = [["0고양이\udcff.jpg", 1], ["1고양이\udcff.jpg", 51], ["both.jpg", 4]]
    assert [json.loads(line) for line in told.stdout.splitlines()] == [expected] * 2
