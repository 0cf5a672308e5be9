"""Images that belong together stay together: in splits, folds, and beside what looks the same."""

import numpy as np
import pytest
from PIL import Image

from polyak.data import find, scan, split
from polyak.data.groups import joined, named_by
from polyak.data.near_duplicates import grouped
from polyak.errors import DataError, UsageError
from polyak.transfer import folds


@pytest.fixture
def pieces(tmp_path):
    """Two classes of 24 images of noise, of twelve pieces; each piece has images of both."""
    random = np.random.default_rng(0)
    for label in ("good", "torn"):
        (tmp_path / label).mkdir()
        for i in range(24):
            pixels = random.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"exp{i % 2}_num_{i // 2}.png")
    return tmp_path


PATTERN = r"num_(\d+)"


def sides(data):
    """Map each group's name to the splits that it stands in."""
    found = {}
    for name, part in zip(data.named_groups, data.splits, strict=True):
        found.setdefault(name, set()).add(str(part))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_no_split_parts_a_group_of_several_classes(pieces, seed):
    data = grouped(named_by(scan(find(pieces)), PATTERN))
    chosen = split(data, 0.25, seed)
    assert all(len(parts) == 1 for parts in sides(chosen).values())
    counts = {part: np.bincount(chosen.part(part).labels) for part in ("train", "val")}
    assert 8 <= counts["val"].sum() <= 16 and counts["train"].min() > 12


def test_no_fold_parts_a_group(pieces):
    data = grouped(named_by(scan(find(pieces)), PATTERN))
    fold = folds(data.labels, 3, 4, data.groups)
    for name in set(data.named_groups):
        assert len(set(fold[data.named_groups == name])) == 1
    assert sorted(np.bincount(fold[fold >= 0]))[0] >= 8


def test_a_copy_binds_two_groups(pieces):
    (pieces / "good" / "exp9_num_3.png").write_bytes(
        (pieces / "good" / "exp0_num_5.png").read_bytes()
    )
    data = grouped(named_by(scan(find(pieces)), PATTERN))
    of = {name: set(data.groups[data.named_groups == name]) for name in ("3", "5", "6")}
    assert of["3"] == of["5"] != of["6"]


def test_a_column_names_groups_and_travels_with_the_split(pieces, tmp_path):
    names = sorted(str(file.relative_to(pieces)) for file in pieces.rglob("*.png"))
    lines = [f"{name},{name[:4]},p{i % 6}" for i, name in enumerate(names)]
    (pieces / "data.csv").write_text("\n".join(["path,label,group", *lines]))
    data = split(grouped(scan(find(pieces / "data.csv"))), 0.25, 0)
    assert all(len(parts) == 1 for parts in sides(data).values())
    data.write_split(pieces / "split.csv")
    again = scan(find(pieces / "split.csv"))
    assert again.named_groups.tolist() == data.named_groups.tolist()
    assert again.splits.tolist() == data.splits.tolist()


def test_an_empty_cell_is_a_group_of_its_own(pieces):
    (pieces / "data.csv").write_text(
        "path,label,group\ngood/exp0_num_0.png,good,\ngood/exp1_num_0.png,good,\n"
        "torn/exp0_num_0.png,torn,a\ntorn/exp1_num_0.png,torn,a\n"
    )
    groups = grouped(scan(find(pieces / "data.csv"))).groups
    assert len(set(groups)) == 3 and groups[2] == groups[3]


def test_a_group_across_given_splits_is_told(pieces):
    (pieces / "data.csv").write_text(
        "path,label,split,group\ngood/exp0_num_0.png,good,train,p7\ntorn/exp0_num_0.png,torn,"
        "train,p8\ngood/exp1_num_0.png,good,test,p7\ntorn/exp1_num_0.png,torn,test,p9\n"
    )
    told = scan(find(pieces / "data.csv")).warnings
    assert "one group stands in several splits: p7; scores flatter" in told


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("num_(", "no regular expression"), ("patient", "it finds nothing in any path")],
)
def test_a_pattern_that_names_nothing_is_refused(pieces, pattern, told):
    with pytest.raises(UsageError, match=told):
        named_by(scan(find(pieces)), pattern)


def test_groups_are_named_once(pieces):
    (pieces / "data.csv").write_text(
        "path,label,group\ngood/exp0_num_0.png,good,a\ntorn/exp0_num_0.png,torn,b\n"
    )
    with pytest.raises(UsageError, match="named twice"):
        named_by(scan(find(pieces / "data.csv")), PATTERN)
    (pieces / "bad.csv").write_text("path,label,group\ngood/exp0_num_0.png,good,NaN\n")
    with pytest.raises(DataError, match="no group: nan"):
        find(pieces / "bad.csv")


def test_one_group_of_each_class_leaves_nothing_to_validate(pieces):
    data = grouped(named_by(scan(find(pieces)), "good|torn"))
    chosen = split(data, 0.25, 0)
    assert (chosen.splits == "train").all()
    assert "2 classes too small to validate" in chosen.warnings[-1]


def test_groups_without_names_are_what_they_were():
    near = np.array([0, 1, 1])
    assert joined(near, None) is near


def test_tiles_of_one_piece_are_one_group(real_data):
    data = named_by(scan(find(real_data / "magnetic_tile6")), r"(num_\d+)")
    assert any("groups in the paths of 1,344 images" in line for line in data.warnings)
    chosen = split(grouped(data), 0.1, 0)
    torn = [name for name, parts in sides(chosen).items() if {"train", "val"} <= parts]
    assert torn == []
