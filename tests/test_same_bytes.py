"""The comparison of two checkouts sees what it must see; `make same-bytes` makes it."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import same_bytes


@pytest.fixture
def runs(tmp_path):
    """Two run directories of the same content."""
    for side in ("there", "here"):
        (tmp_path / side / "predictions").mkdir(parents=True)
        tensors = {"weights.a": np.ones(3, np.float32), "weights.b": np.zeros((2, 2), np.float32)}
        save_file(tensors, tmp_path / side / "model.safetensors")
        (tmp_path / side / "predictions" / "val.csv").write_text("path,label\na.png,0\n")
    return tmp_path / "there", tmp_path / "here"


def test_the_same_is_the_same(runs):
    assert same_bytes.compared(*runs) == (False, "same: 3 tensors and tables")


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"a": [1, 1, 1], "b": [[0, 0], [0, 1e-7]]}, "weights.b: largest difference 1e-07"),
        ({"a": [1, 1, 1], "b": [[0, 0], [0, -0.0]]}, "weights.b: largest difference 0"),
        ({"a": [1, 1, 1], "b": [[0, 0]]}, "weights.b: float32 (2, 2) became float32 (1, 2)"),
        ({"a": [1, 1, 1]}, "only there: model.safetensors: weights.b (1 in all)"),
        ({"a": [1, 1, 1], "b": [[0] * 2] * 2, "c": [1]}, "new: model.safetensors: weights.c"),
    ],
)
def test_a_bit_of_a_weight_is_seen(runs, tensors, said):
    changed = {f"weights.{name}": np.array(value, np.float32) for name, value in tensors.items()}
    save_file(changed, runs[1] / "model.safetensors")
    different, what = same_bytes.compared(*runs)
    assert different
    assert said in what


def test_a_line_of_a_table_is_seen(runs):
    (runs[1] / "predictions" / "val.csv").write_text("path,label\na.png,1\n")
    different, what = same_bytes.compared(*runs)
    assert different
    assert "predictions/val.csv: 1 of 2 lines differ" in what


def test_nothing_at_all_is_a_difference(tmp_path):
    assert same_bytes.compared(tmp_path, tmp_path)[0]


def test_what_does_not_exist_is_said(capsys):
    assert same_bytes.main(["nothing"]) == 64
    assert "independent, distilled" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="cannot check out no-such-commit"):
        same_bytes.main(["--ref", "no-such-commit", "linear"])


def test_every_recipe_is_one_of_the_command_line():
    from polyak.options import training

    for recipe in same_bytes.RECIPES.values():
        training([recipe.data, *recipe.options])
