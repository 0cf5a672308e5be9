import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from jobs import as_before
from polyak import tensor_file
from polyak.errors import RefusedError
from polyak.rundir import checkpoints as checkpoint
from polyak.rundir import directory


def state(step: int) -> dict:
    x = torch.arange(6.0).reshape(2, 3) + step
    return {"step": step, "x": x, "tied": x, "nested": {0: [x.to(torch.bfloat16), None, "text"]}}


def test_what_is_saved_comes_back(tmp_path):
    checkpoint.save(tmp_path, 7, state(7))
    back, lines = checkpoint.newest(tmp_path)
    assert lines == []
    assert back["step"] == 7
    assert back["nested"][0][1:] == [None, "text"]
    assert back["nested"][0][0].dtype == torch.bfloat16
    assert torch.equal(back["x"], state(7)["x"])
    assert torch.equal(back["tied"], back["x"])


def test_memory_formats_and_scalars_come_back(tmp_path):
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    checkpoint.save(tmp_path, 0, {"x": x, "scalar": torch.tensor(3.0), "empty": torch.zeros(0, 2)})
    back, _ = checkpoint.newest(tmp_path)
    assert torch.equal(back["x"], x)
    assert back["scalar"].shape == ()
    assert back["empty"].shape == (0, 2)


def test_the_two_newest_are_kept(tmp_path):
    for step in range(5):
        checkpoint.save(tmp_path, step, state(step))
    assert [e["step"] for e in checkpoint.manifest(tmp_path)] == [3, 4]
    assert len(list(tmp_path.glob("step-*.safetensors"))) == 2


def test_a_step_is_written_once(tmp_path):
    checkpoint.save(tmp_path, 1, state(1))
    before = next(tmp_path.glob("step-*")).stat().st_mtime_ns
    checkpoint.save(tmp_path, 1, state(1) | {"late": True})
    assert next(tmp_path.glob("step-*")).stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "pickle"])
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path, damage):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state(step))
    file = tmp_path / "step-000000002.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "pickle":
        file.write_bytes(b"\x80\x04K*.")
    else:
        content[-3] ^= 64
        file.write_bytes(content)
    back, lines = checkpoint.newest(tmp_path)
    assert back["step"] == 1
    assert len(lines) == 1
    checkpoint.save(tmp_path, 2, state(2))  # training reaches that step again
    assert checkpoint.newest(tmp_path)[0]["step"] == 2


def test_a_file_that_no_manifest_names_is_not_trusted(tmp_path):
    checkpoint.save(tmp_path, 1, state(1))
    (tmp_path / "step-000000009.safetensors").write_bytes(b"half")
    assert checkpoint.newest(tmp_path)[0]["step"] == 1
    checkpoint.save(tmp_path, 2, state(2))
    assert not (tmp_path / "step-000000009.safetensors").exists()


def test_a_manifest_leads_nowhere_else(tmp_path):
    (tmp_path / "outside.safetensors").write_bytes(b"x")
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    entry = {"file": "../outside.safetensors", "step": 1, "sha256": "0"}
    (folder / "manifest.json").write_text(json.dumps([entry]))
    with pytest.raises(RefusedError):
        checkpoint.newest(folder)
    assert (tmp_path / "outside.safetensors").exists()


def test_what_a_kill_left_behind_a_save_goes_with_the_next_of_the_same_step(tmp_path):
    """Killed between the new file and the removal of the oldest, with nothing more to train."""
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state(step))
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    checkpoint.save(tmp_path, 3, state(3))
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, content in kept.items():  # the manifest of before, and the oldest
        (tmp_path / name).write_bytes(content)
    checkpoint.save(tmp_path, 3, state(3))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == after


DAMAGE = ["", "{", "[3]", '[{"file": 1}]', "null", "[" * 10**5, "\x00" * 300,
    json.dumps([{"file": "x" * 300, "step": 1, "sha256": "0"}]),
    '[{"file": "step-000000001.safetensors", "step": 1e999, "sha256": "0"}]',
    '[{"file": "step-000000001.safetensors", "step": Infinity, "sha256": "0"}]',
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGE)
def test_an_unreadable_manifest_counts_as_empty(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    assert checkpoint.newest(tmp_path) == (None, [])


@pytest.mark.parametrize("text", [*DAMAGE, None])
def test_checkpoints_need_no_manifest(tmp_path, text):
    """The very case: the run began at step 0, and its first save deleted both good checkpoints."""
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state(step))
    (tmp_path / "manifest.json").unlink()
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    back, lines = checkpoint.newest(tmp_path)
    assert (back["step"], lines) == (2, [])
    checkpoint.save(tmp_path, 3, state(3))
    assert [e["step"] for e in checkpoint.manifest(tmp_path)] == [2, 3]
    assert checkpoint.load(tmp_path / "step-000000002.safetensors")["step"] == 2


def test_a_manifest_that_lies_is_not_believed(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state(step))
    entries = [{"file": f"step-00000000{n}.safetensors", "step": 9, "sha256": "0"} for n in (1, 2)]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    assert checkpoint.newest(tmp_path)[0]["step"] == 2


def test_checkpoints_of_the_first_version_go_on(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state(step))
    as_before(tmp_path)
    assert checkpoint.newest(tmp_path)[0]["step"] == 2
    file = tmp_path / "step-000000002.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 64
    file.write_bytes(content)
    back, (line,) = checkpoint.newest(tmp_path)
    assert back["step"] == 1 and "not the one in the manifest" in line
    checkpoint.save(tmp_path, 2, state(2))
    assert [e["step"] for e in checkpoint.manifest(tmp_path)] == [1, 2]
    assert checkpoint.newest(tmp_path)[0]["step"] == 2


def test_the_first_version_without_its_manifest_is_used_and_told(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state(step))
    as_before(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    back, (line,) = checkpoint.newest(tmp_path)
    assert back["step"] == 2 and "could not be checked" in line
    checkpoint.save(tmp_path, 3, state(3))
    assert len(checkpoint.found(tmp_path)) == 2


def test_what_was_set_aside_is_not_forgotten(tmp_path):
    """A second --resume does not begin at step 0 either."""
    checkpoint.save(tmp_path, 1, state(1))
    (tmp_path / "step-000000001.safetensors").write_bytes(b"pickle")
    for _ in range(3):
        with pytest.raises(RefusedError, match="no checkpoint can be used"):
            checkpoint.newest(tmp_path)
    assert (tmp_path / "step-000000001.safetensors.damaged").read_bytes() == b"pickle"


def test_a_newer_format_is_left_alone(tmp_path):
    checkpoint.save(tmp_path, 1, state(1))
    file = tmp_path / "step-000000001.safetensors"
    tensor_file.write(file, {}, {"format": 3})
    with pytest.raises(RefusedError, match="upgrade polyak"):
        checkpoint.newest(tmp_path)
    assert file.exists()


def resealed(tmp_path, change):
    checkpoint.save(tmp_path, 1, state(1), "mine")
    checkpoint.save(tmp_path, 2, state(2), "mine")
    file = tmp_path / "step-000000002.safetensors"
    with tensor_file.opened(file) as stored:
        facts, tensors = stored.facts, {name: stored.tensor(name) for name in stored.shapes}
    change(facts, tensors)
    tensor_file.write(file, tensors, facts)


def entry(name, reference):
    return lambda facts, _: facts["state"]["entries"].append([name, {"tensor": reference}])


@pytest.mark.parametrize(
    "change",
    [
        entry("again", "x"),  # a thousand references to one tensor would fill memory
        entry("a", "../x"),
        entry("a", ["x"]),
        entry([], "x"),
        lambda facts, tensors: tensors.update(more=torch.ones(3)),
        lambda facts, tensors: facts.update(step=7),
        lambda facts, tensors: facts.update(state=[1]),
        lambda facts, tensors: facts.update(state={"a": 1}),
        lambda facts, tensors: facts.pop("run"),
        lambda facts, tensors: facts.pop("state"),
    ],
)
def test_what_is_no_state_is_set_aside(tmp_path, change):
    resealed(tmp_path, change)
    back, (line,) = checkpoint.newest(tmp_path, run="mine")
    assert back["step"] == 1 and "damaged" in line


def test_a_file_larger_than_any_of_the_run_is_not_read(tmp_path):
    checkpoint.save(tmp_path, 1, state(1))
    checkpoint.save(tmp_path, 2, state(2))
    with (tmp_path / "step-000000002.safetensors").open("r+b") as file:
        file.truncate(10**13)  # sparse
    assert checkpoint.newest(tmp_path, largest=10**6)[0]["step"] == 1


SAVER = """
import itertools, sys, pathlib, torch
from polyak.rundir import checkpoints as checkpoint
folder = pathlib.Path(sys.argv[1])
x = torch.zeros(2_000_000)
for step in itertools.count(int(sys.argv[2])):
    x[:] = step
    checkpoint.save(folder, step, {"step": step, "x": x, "y": x + 1})
    if step == int(sys.argv[2]): print(flush=True)
"""


def test_a_kill_within_a_save_costs_nothing_and_leaves_nothing(tmp_path):
    """Kill a child that saves 16 MB in a loop, at many moments of a save."""
    owner = directory.create(str(tmp_path), "job", "job", {"config.yaml": "", "env.json": "{}"})
    owner.close()
    folder, first, left = owner.checkpoints, 0, 0
    for number in range(60):
        command = [sys.executable, "-c", SAVER, str(folder), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout
            child.stdout.readline()
            time.sleep(0.017 * number % 0.2)
            child.send_signal(signal.SIGKILL)
        left += any(path.name[0] == "." for path in folder.iterdir())
        directory.RunDirectory(owner.path).close()
        assert all(path.name[0] != "." for path in folder.iterdir())
        back, lines = checkpoint.newest(folder)
        assert lines == [] and back["step"] >= first
        assert (back["x"] == back["step"]).all()
        first = back["step"] + 1
        checkpoint.save(folder, first, back | {"step": first, "x": back["x"] + 1})
        names = {path.name for path in folder.iterdir()}
        assert len(names) == 3 and "manifest.json" in names
        if number > 9 and left > 2:
            break
    assert left > 2  # else no kill has met a save


def test_what_cannot_be_saved_is_named():
    with pytest.raises(TypeError, match="a/0: a set cannot be saved"):
        checkpoint.pack({"a": [{1, 2}]}, {})
