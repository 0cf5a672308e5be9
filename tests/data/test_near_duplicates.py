"""Images that look the same: found, kept on one side, and told; others are left alone."""

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import samples
from polyak.data import find, scan, split
from polyak.data.images import Images
from polyak.data.near_duplicates import grouped, near_duplicates
from polyak.transfer import folds


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/polyak/alike-2"


def thing(seed, side=96):
    """An image of something: a few blots of its own."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def put(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def things(folder, each=6):
    """Two classes of different things: nothing looks the same."""
    for label, name in enumerate("ab"):
        for i in range(each):
            put(thing(100 * label + i), folder / name / f"{i}.jpg", quality=95)
    return folder


def names_with(data, name):
    """Names of the images in the group of one."""
    group = data.groups[data.paths.index(name)]
    return {data.paths[i] for i in np.flatnonzero(data.groups == group)}


def test_mirrored_and_turned_copies_are_found(tmp_path):
    folder = things(tmp_path / "data", each=12)
    one = thing(0).resize((120, 90))
    poses = [one.transpose(how) for how in Image.Transpose]
    for number, pose in enumerate(poses):
        put(pose, folder / f"a/pose{number}.jpg", quality=80)
        put(pose, folder / f"b/pose{number}.jpg", quality=80)  # of another class: left alone
    data = grouped(scan(find(folder)))
    assert len(poses) == 7
    assert len(names_with(data, "a/0.jpg")) == 8 and len(names_with(data, "b/pose0.jpg")) == 7
    assert len(np.unique(data.groups)) == 25


def test_the_same_thing_again_is_found_and_other_things_are_not(tmp_path):
    folder = things(tmp_path / "data")
    assert len(np.unique(near_duplicates(scan(find(folder))))) == 12
    one = thing(0)
    put(one, folder / "a/again.jpg", quality=40)
    put(one.resize((201, 190)), folder / "a/larger.png")
    put(ImageEnhance.Brightness(one).enhance(0.6), folder / "a/darker.jpg")
    put(one.crop((1, 1, 95, 95)), folder / "a/cropped.webp")
    data = grouped(scan(find(folder)))
    same = {"a/0.jpg", "a/again.jpg", "a/larger.png", "a/darker.jpg", "a/cropped.webp"}
    assert names_with(data, "a/0.jpg") == same and len(np.unique(data.groups)) == 12
    (line,) = [line for line in data.warnings if "same" in line]
    assert line.startswith("5 images look the same as others (a/0.jpg and a/")


def test_one_thing_in_two_classes_is_not_joined(tmp_path):
    folder = things(tmp_path / "data")
    put(thing(0), folder / "b/of another class.jpg", quality=40)
    data = grouped(scan(find(folder)))
    assert len(np.unique(data.groups)) == 13 and not data.warnings


def test_a_chain_is_one_group(tmp_path):
    folder = things(tmp_path / "data", each=30)
    one, other = (np.asarray(thing(seed), float) for seed in (0, 50))
    for step in range(17):
        mixed = one + (other - one) * step / 16
        put(Image.fromarray(mixed.astype(np.uint8)), folder / f"a/step {step}.png")
    data = grouped(scan(find(folder)))
    assert len(names_with(data, "a/step 0.png")) == 18  # its ends are two things, and 0.jpg


@pytest.mark.parametrize("seed", range(3))
def test_no_split_and_no_fold_parts_them(tmp_path, seed):
    folder, draw = tmp_path / "data", np.random.default_rng(0)
    for label, name in enumerate("ab"):
        for i in range(12):
            for again in range(draw.integers(1, 5)):
                put(thing(100 * label + i), folder / name / f"{i} {again}.jpg", quality=95 - again)
    data = grouped(scan(find(folder)))
    assert len(np.unique(data.groups)) == 24 < len(data)
    chosen = split(data, 0.25, seed)
    part = folds(data.labels, seed, 3, data.groups)
    for group in np.unique(data.groups):
        assert len(set(chosen.splits[data.groups == group])) == 1
        assert len(set(part[data.groups == group])) == 1
    for label in range(2):
        assert 0.1 < (chosen.splits[data.labels == label] == "val").mean() <= 0.25
        assert set(part[data.labels == label]) == {0, 1, 2}
    alone = replace(data, groups=None)
    assert any(
        len(set(split(alone, 0.25, seed).splits[data.groups == group])) > 1
        for group in np.unique(data.groups)
    )


def test_a_group_larger_than_the_share_is_not_taken_where_others_fit(tmp_path):
    folder = things(tmp_path / "data", each=20)
    for again in range(8):
        put(thing(0), folder / f"a/0 again {again}.jpg", quality=90 - again)
    data = grouped(scan(find(folder)))
    for seed in range(10):
        chosen = split(data, 0.1, seed)
        assert (chosen.splits[data.labels == 0] == "val").sum() == 3
        assert set(chosen.splits[data.groups == data.groups[0]]) == {"train"}


def test_a_fixed_camera_leaves_something_to_judge_by(tmp_path):
    folder, draw = things(tmp_path / "data", each=3), np.random.default_rng(0)
    scene = np.asarray(thing(7), float)
    for i in range(30):
        noisy = (scene + draw.normal(0, 5, scene.shape)).clip(0, 255)
        put(Image.fromarray(noisy.astype(np.uint8)), folder / f"a/seen {i}.jpg")
    data = grouped(scan(find(folder)))
    assert len(set(near_duplicates(data))) == 7 and len(set(data.groups)) == 36
    assert any(line.startswith("30 images of a look the same, too") for line in data.warnings)
    assert (split(data, 0.2, 0).splits[data.labels == 0] == "val").sum() == 7


def test_what_leaks_between_given_splits_is_told(tmp_path):
    folder = things(tmp_path / "data/train")
    for label, name in enumerate("ab"):
        put(thing(100 * label + 50), folder.parent / "test" / name / "new.jpg")
    assert not grouped(scan(find(folder.parent))).warnings
    put(thing(3), folder.parent / "test/a/seen.jpg", quality=60)
    (_, line) = grouped(scan(find(folder.parent))).warnings
    assert line == "2 images look the same as one of another split; scores flatter"


def test_small_plain_and_unreadable_images_look_like_nothing(tmp_path):
    folder = things(tmp_path / "data", each=3)
    for i in range(3):
        put(thing(0, 31), folder / f"a/small {i}.jpg", quality=90 - i)
        put(Image.new("RGB", (96, 96), (i, i, i)), folder / f"b/plain {i}.png")
    data = scan(find(folder))
    (folder / "a/1.jpg").write_bytes(b"gone bad since the scan")
    assert len(np.unique(near_duplicates(data))) == len(data) == 12


@pytest.mark.parametrize("side", [40, 96, 300])
def test_decoded_before_or_not_makes_no_difference(tmp_path, side):
    for i in range(5):
        for again in range(2):
            put(thing(i, side), tmp_path / "data" / "ab"[again] / f"{i}.jpg")
            put(thing(i, side), tmp_path / "data" / "ab"[again] / f"{i} b.jpg", quality=70)
    data = scan(find(tmp_path / "data"))
    found = near_duplicates(data)
    assert len(np.unique(found)) == 10
    for budget in (0, None):
        images = Images.open(data, budget=budget, min_size=(64, 64))
        assert near_duplicates(data, 1, images).tolist() == found.tolist()


@pytest.mark.parametrize("damage", [b"", b"not numpy", b"\x93NUMPY\x01\0", "short", "pickle"])
def test_the_answer_is_remembered_and_a_damaged_one_found_anew(tmp_path, cache, damage):
    folder = things(tmp_path / "data")
    put(thing(0), folder / "a/again.jpg", quality=40)
    data = scan(find(folder))
    found = grouped(data).groups.tolist()
    (file,) = cache.glob("*.npy")
    said = np.load(file)
    said[:] = 0
    np.save(file, said)
    assert len(set(grouped(data).groups.tolist())) != 12  # it is read
    if damage == "short":
        np.save(file, said[1:])
    elif damage == "pickle":
        np.save(file, np.array([{}] * len(data)), allow_pickle=True)
    else:
        file.write_bytes(damage)
    assert grouped(data).groups.tolist() == found
    assert np.load(file).tolist() == near_duplicates(data).tolist()


def test_tiles_photographed_several_times_are_found_by_their_looks():
    """Files of one tile carry neighbouring numbers: the truth that the looks are held against."""
    folder = Path(os.environ.get("POLYAK_DATA") or Path.home() / ".cache/polyak-data")
    if not (folder / "magnetic_tile6").is_dir():
        pytest.skip(f"no magnetic_tile6 in {folder} (set POLYAK_DATA)")
    data = scan(find(folder / "magnetic_tile6")).part("train")
    groups = near_duplicates(data)
    number = np.array([int(re.search(r"num_(\d+)", path)[1]) for path in data.paths])
    near = np.abs(number[:, None] - number) <= 150
    same = groups[:, None] == groups
    np.fill_diagonal(same, False)
    assert same.any(1).mean() > 0.7
    assert near[same].mean() > 0.8


def test_what_is_decoded_already_is_not_decoded_again(tree, monkeypatch):
    pixels = samples.scene(80, 90)
    data = scan(
        find(tree({name: samples.encoded(pixels, "PNG") for name in ("a/1.png", "b/2.png")}))
    )
    images = Images.open(data)
    found = near_duplicates(data)
    monkeypatch.setattr("polyak.data.near_duplicates.decode", lambda *_: pytest.fail("again"))
    assert (near_duplicates(data, images=images) == found).all()


def test_of_many_classes_that_look_the_same_a_few_are_named(tree):
    one = {f"{k:02}/{i}.png": (k, i) for k in range(9) for i in range(2)}
    files = {
        name: samples.encoded(np.clip(samples.scene(64, 64, k) // 2 + i, 0, 255), "PNG")
        for name, (k, i) in one.items()
    }
    data = grouped(scan(find(tree(files))))
    assert sum("too many to keep together" in line for line in data.warnings) == 5
    assert "so it is with 4 more classes" in data.warnings
