import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from polyak.errors import RefusedError, UsageError
from polyak.networks.build import build
from polyak.networks.weights import load_weights, metadata_of

DATA = Path(os.environ.get("POLYAK_DATA", Path.home() / ".cache/polyak-data"))


def compact(classes=3, seed=0):
    torch.manual_seed(seed)
    return build("compact", classes, size=(8, 8), widths=(4, 6))


def copy(network):
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


def same(network, state):
    return all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_back(tmp_path, suffix):
    source, target, path = compact(seed=0), compact(seed=1), tmp_path / f"w{suffix}"
    save_file(source.state_dict(), path) if suffix == ".safetensors" else torch.save(
        source.state_dict(), path
    )
    loaded = load_weights(target, path)
    assert same(target, source.state_dict())
    assert not loaded.missing_head
    assert set(loaded.keys) == set(source.state_dict())


def test_half_precision_is_widened_and_metadata_kept(tmp_path):
    state = {k: v.half() if v.is_floating_point() else v for k, v in compact().state_dict().items()}
    save_file(state, tmp_path / "w.safetensors", {"mean": "0.5"})
    target = compact(seed=1)
    assert load_weights(target, tmp_path / "w.safetensors").metadata == {"mean": "0.5"}
    assert target.head.weight.dtype == torch.float32
    assert torch.equal(target.head.weight, state["head.weight"].float())


def test_other_classes_start_a_head_of_zeros_and_keep_the_rest(tmp_path):
    source, target = compact(classes=5), compact(classes=3, seed=1)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    loaded = load_weights(target, tmp_path / "w.safetensors")
    assert loaded.missing_head
    assert "head.weight" not in loaded.keys
    assert target.head.weight.shape == (3, 6)
    assert not target.head.weight.any()
    assert torch.equal(target.stages[0][0].weight, source.stages[0][0].weight)


def test_a_file_without_a_head_is_a_backbone(tmp_path):
    state = copy(compact())
    del state["head.weight"]
    save_file(state, tmp_path / "w.safetensors")
    assert load_weights(compact(), tmp_path / "w.safetensors").missing_head


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_training_checkpoint_is_unwrapped(tmp_path, wrapper):
    source, target = compact(), compact(seed=1)
    state = {f"module.{key}": tensor for key, tensor in source.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3}, tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert same(target, source.state_dict())


def changed(change):
    state = copy(compact())
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("whitening"), "whitening is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra is not in the network"),
        (lambda s: s.update(whitening=torch.zeros(24, 3, 3, 3)), r"\(24, 3, 3, 3\), not"),
        (lambda s: s["whitening"].fill_(float("nan")), "not finite"),
        (lambda s: s.update(whitening=s["whitening"].int()), "torch.int32"),
        (lambda s: s.update(whitening=s["whitening"].cfloat()), "torch.complex64"),
        (lambda s: s.clear(), "0 of 22 tensors fit: it has nothing"),
    ],
    ids=["missing", "extra", "shape", "nan", "integer", "complex", "empty"],
)
def test_any_other_difference_is_listed_and_changes_nothing(tmp_path, change, message):
    save_file(changed(change), tmp_path / "w.safetensors")
    target = compact(seed=1)
    before = copy(target)
    with pytest.raises(RefusedError, match=message) as refusal:
        load_weights(target, tmp_path / "w.safetensors")
    assert refusal.value.exit_code == 76
    assert same(target, before)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, protocol):
    trap, path = tmp_path / "sprung", tmp_path / "w.pth"
    if protocol == "torch":
        torch.save({"state_dict": Hostile(trap)}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile(trap)))
    with pytest.raises(RefusedError, match="nothing in it was run"):
        load_weights(compact(), path)
    assert not trap.exists()
    torch.load(path, weights_only=False) if protocol == "torch" else pickle.loads(path.read_bytes())
    assert trap.exists()  # the trap was a real one


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\3\4 not a zip", b"{}"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_files_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match="refused the weights"):
        load_weights(compact(), path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    state = compact().state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    for cut in range(1, 10):
        path.write_bytes(whole[: len(whole) * cut // 10])
        with pytest.raises(RefusedError):
            load_weights(compact(), path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"state_dict": {"a": "b"}}, torch.zeros(3)])
def test_a_pickle_of_anything_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(RefusedError, match="no table"):
        load_weights(compact(), tmp_path / "w.pth")


def test_a_file_too_large_for_the_network_is_refused_unread(tmp_path):
    huge = tmp_path / "w.safetensors"
    with huge.open("wb") as file:
        file.truncate(10 * 2**30)  # sparse: no disk is used
    with pytest.raises(RefusedError, match="10,737,418,240 bytes"):
        load_weights(compact(), huge)
    bomb = tmp_path / "w.pth"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300 * 2**20))
    assert bomb.stat().st_size < 2**20
    with pytest.raises(RefusedError, match="314,572,800 bytes"):
        load_weights(compact(), bomb)


def test_wrong_paths_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_weights(compact(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"neither \.safetensors nor"):
        load_weights(compact(), tmp_path / "w.onnx")
    os.mkfifo(tmp_path / "w.pth")
    with pytest.raises(RefusedError, match="regular"):
        load_weights(compact(), tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["mobilenetv2_100", "mobilenetv1_100"])
def test_imagenet_weights_make_a_backbone(name):
    path = DATA / "weights" / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    network = build(name, 2)
    loaded = load_weights(network, path)
    assert loaded.missing_head
    assert not network.classifier.weight.any()
    assert network.conv_stem.weight.dtype == torch.float32
    whole = build(name, 1000)
    assert not load_weights(whole, path).missing_head
    assert torch.equal(whole.conv_stem.weight, network.conv_stem.weight)


def test_metadata_are_read_without_the_tensors(tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(3)}, file, {"size": "[96, 96]"})
    assert metadata_of(file) == {"size": "[96, 96]"}
    for text in (b"", b"\xff" * 64):
        file.write_bytes(text)
        assert metadata_of(file) == {}
