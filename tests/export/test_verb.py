"""`polyak export` as it is typed: what it says, where it writes, how it refuses."""

import pytest

from classifiers import made, mixed
from polyak.cli import main


def test_each_format_lies_beside_the_model(written, capsys, tmp_path):
    model = written(made("resnet10t", 32), "a.st")
    for to, name, by in (
        ("onnx", "a.onnx", "onnxruntime"),
        ("torch-export", "a.pt2", "torch.export.load"),
        ("hf", "a-hf", "timm"),
    ):
        assert main(["export", model, "--to", to]) == 0
        said = capsys.readouterr().out
        assert f"checked with {by}: 64 images: the same class on 64" in said
        assert said.endswith(f"written: {tmp_path / name}\n")
        assert (tmp_path / name).exists()
        assert ("uint8 (batch, height, width, 3)" in said) == (to != "hf")


def test_an_ensemble_is_one_graph(written, capsys, tmp_path):
    out = tmp_path / "deep.onnx"
    assert main(["export", written(mixed()), "--out", str(out)]) == 0
    assert "float32 (batch, 3)" in capsys.readouterr().out
    assert out.stat().st_size > 1_000_000  # the ResNet's weights are in it


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["--bare"], 64, "share no input"),
        (["--to", "hf", "--bare"], 64, "--bare goes with --to onnx or torch-export"),
        (["--license", "mit"], 64, "--license goes with --to hf"),
        (["--to", "torch-export", "--opset", "18"], 64, "--opset goes with --to onnx"),
        (["--to", "hf", "--opset", "0"], 64, "--opset goes with --to onnx"),
        (["--opset", "x"], 64, "--opset"),
        (["--kind", "soup"], 64, "no such weights"),
        (["--data", "nowhere"], 65, "nowhere"),
        (["--out", "/dev/null/m.onnx"], 74, "cannot write"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(typed, code, said, written, capsys, tmp_path):
    model = written(mixed())
    assert main(["export", model, *typed]) == code
    error = capsys.readouterr().err
    assert error.startswith("polyak: ") and error.count("\n") == 1 and said in error
    assert len(list(tmp_path.iterdir())) == 1


def test_no_model(capsys, tmp_path):
    assert main(["export", str(tmp_path / "no/such/run")]) == 76
    assert "no such file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_of_several_networks_hf_holds_the_one_that_counts_most(written, capsys, tmp_path):
    model = written(mixed())
    assert main(["export", model, "--to", "hf", "--out", str(tmp_path / "hub")]) == 0
    said = capsys.readouterr().out
    assert "note: one of 3 networks is written, the one that counts most" in said
    assert "the same class on 64" in said and (tmp_path / "hub/config.json").is_file()
