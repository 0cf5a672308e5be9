import json

import pytest
import torch

from polyak.errors import RefusedError
from polyak.rundir import checkpoints as checkpoint


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


@pytest.mark.parametrize("text", ["", "{", "[3]", '[{"file": 1}]', "null"])
def test_an_unreadable_manifest_counts_as_empty(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    assert checkpoint.newest(tmp_path) == (None, [])


def test_what_cannot_be_saved_is_named():
    with pytest.raises(TypeError, match="a/0: a set cannot be saved"):
        checkpoint.pack({"a": [{1, 2}]}, {})
