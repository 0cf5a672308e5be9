"""What folders mean: a file that is no image changes nothing, and no other task is trained."""

import itertools

import numpy as np
import pytest

from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.errors import DataError, UsageError

IMAGE = (8, 8, 0)  # height, width, seed: the `tree` fixture draws it
STRAYS = {
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "labels.csv": b"path,label\n",
    "BMI.csv": b"BMI,age,weight and height of all people\n",  # begins like a BMP
    "README": b"read me",
    "broken.jpg": b"<!DOCTYPE html>",
    "desktop.ini": b"",
}


def images(*folders, each=2):
    """Files of a tree: some images in every folder, no two alike."""
    return {
        f"{folder}/{i}.jpg": (8, 8, each * n + i)
        for n, folder in enumerate(folders)
        for i in range(each)
    }


def read(root, **how):
    """{(class, split): number of images}, and all notes as one text."""
    data = scan(find(root, **how))
    names = [data.classes[label] for label in data.labels]
    counts = {}
    for pair in zip(names, data.splits.tolist(), strict=True):
        counts[pair] = counts.get(pair, 0) + 1
    return counts, " | ".join(data.warnings)


def grid(classes, splits, n=2):
    return dict.fromkeys(itertools.product(classes, splits), n)


@pytest.mark.parametrize("stray", STRAYS)
@pytest.mark.parametrize("folder", ["train", "test", "", "train/cat"])
def test_a_file_that_is_no_image_never_changes_what_folders_mean(stray, folder, tree):
    plain = images("train/cat", "train/dog", "test/cat", "test/dog")
    root = tree({**plain, f"{folder}/{stray}": STRAYS[stray]})
    data = scan(find(root))
    assert read(root)[0] == grid(("cat", "dog"), ("train", "test"))
    assert len(data.quarantine) == (folder == "train/cat")


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("Training", "Testing", "test"),
        ("training", "validation", "val"),
        ("TRAIN", "TEST", "test"),
        ("seg_train", "seg_test", "test"),
        ("train_set", "dev_set", "val"),
        ("TrainSet", "ValidSet", "val"),
        ("train-images", "eval-images", "val"),
        ("train2017", "val2017", "val"),
        ("01_train", "02_test", "test"),
        ("Train Data", "Test Data", "test"),
        ("asl_alphabet_train", "asl_alphabet_test", "test"),
    ],
)
def test_splits_in_their_usual_spellings_are_told(train, other, split, tree):
    names = [f"{part}/{label}" for part in (train, other) for label in ("cat", "dog")]
    counts, notes = read(tree(images(*names)))
    assert counts == grid(("cat", "dog"), ("train", split))
    assert f"{train} as train" in notes
    assert f"{other} as {split}" in notes


def test_splits_spelled_plainly_need_no_remark(tree):
    _, notes = read(tree(images("train/cat", "train/dog", "val/cat", "test/dog")))
    assert notes == ""


@pytest.mark.parametrize("names", [("bullet_train", "city_bus"), ("trainer", "tester"), ("a", "b")])
def test_names_that_only_hold_such_a_word_are_classes(names, tree):
    files = images(*(f"{name}/{name} {kind}" for name in names for kind in ("old", "new")))
    assert read(tree(files))[0] == grid(names, ("",), 4)


@pytest.mark.parametrize("test", ["test", "eval", "dev"])
def test_a_class_may_be_called_so(test, tree):
    counts, _ = read(tree(images("train", "bus", test)))
    assert counts == grid(("train", "bus", test), ("",))


def test_a_class_called_train_may_hold_folders_and_this_is_told(tree):
    root = tree(images("train", "train/steam", "train/diesel", "bus"))
    counts, notes = read(root)
    assert counts == {("train", ""): 6, ("bus", ""): 2}
    assert "--classes-from leaf takes it for a split" in notes
    assert read(root, classes_from="leaf")[0] == grid(("steam", "diesel"), ("train",))


def test_images_beside_class_folders_are_counted_named_and_left_out(tree):
    files = images("train/cat", "train/dog", "test/cat", "test/dog", "train", "test", each=3)
    root = tree({**files, "cover.jpg": (8, 8, 99), "train/notes.txt": b"x"})
    listing, data = find(root), scan(find(root))
    assert read(root)[0] == grid(("cat", "dog"), ("train", "test"), 3)
    loose = ["cover.jpg", *(f"{part}/{i}.jpg" for part in ("test", "train") for i in range(3))]
    assert sorted(path for path, _ in data.quarantine) == sorted(loose)
    assert {reason for _, reason in data.quarantine} == {"it lies in no class folder"}
    assert data.found == len(files) + 1 == len(data) + len(data.quarantine)
    assert len(listing.left_out) == 7
    assert any(line.startswith("7 images lie in no class folder") for line in data.warnings)


def test_an_image_in_train_beside_a_folder_of_images_is_no_reason_either(tree):
    """A split that is built alike says what train is."""
    files = images("train/cat", "train/dog", "test/cat", "test/dog", "extra")
    counts, notes = read(tree({**files, "train/preview.jpg": (8, 8, 50)}))
    assert counts == grid(("cat", "dog"), ("train", "test"))
    assert "not used beside train: extra" in notes


def test_images_of_test_without_labels_are_left_out(tree):
    root = tree(images("train/cat", "train/dog", "test"))
    counts, notes = read(root)
    assert counts == grid(("cat", "dog"), ("train",))
    assert "not used beside train: test (no class folders in it)" in notes
    assert "2 images lie in no class folder" in notes


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "val"), ("test", "valid")])
def test_splits_without_classes_are_no_classes(names, tree):
    root = tree(images(*names))
    with pytest.raises(DataError, match=r"no class folders.*--classes-from top"):
        find(root)
    assert read(root, classes_from="top")[0] == grid(names, ("",))


@pytest.mark.parametrize(
    "names",
    [
        ("cam1/cat", "cam1/dog", "cam2/cat", "cam2/dog"),
        ("cam1/cat", "cam1/dog", "cam2/cat", "cam2/dog", "cam2/bird"),
        ("x/cam1/cat", "x/cam1/dog", "y/cam2/cat", "y/cam2/dog"),
        ("train/cam1/cat", "train/cam1/dog", "train/cam2/cat", "train/cam2/dog", "val/cam1/cat"),
        ("learn/cat", "learn/dog", "test/cat", "test/dog"),
        ("cat", "dog", "backup/cat", "backup/dog"),
    ],
)
@pytest.mark.parametrize("stray", [{}, {"cam2/Thumbs.db": b"x", "docs/read.txt": b"x"}])
def test_a_tree_of_two_meanings_is_refused(names, stray, tree):
    with pytest.raises(DataError, match=r"read in two ways.*--classes-from leaf where.* cat, dog"):
        find(tree({**images(*names), **stray}))


@pytest.mark.parametrize("within", ["", "photos/", "photos/photos/"])
def test_leaf_and_top_decide(within, tree):
    names = ("cam1/cat", "cam1/dog", "cam2/cat", "cam2/dog")
    root = tree(images(*(within + name for name in names)))
    with pytest.raises(DataError, match="read in two ways"):
        find(root)
    assert read(root, classes_from="leaf")[0] == grid(("cat", "dog"), ("",), 4)
    assert read(root, classes_from="top")[0] == grid(("cam1", "cam2"), ("",), 4)


def test_leaf_and_top_decide_within_splits_too(tree):
    names = itertools.product(("train", "test"), ("cam1", "cam2"), ("cat", "dog"))
    root = tree(images(*map("/".join, names)))
    assert read(root, classes_from="leaf")[0] == grid(("cat", "dog"), ("train", "test"), 4)
    assert read(root, classes_from="top")[0] == grid(("cam1", "cam2"), ("train", "test"), 4)


def test_the_classes_of_a_model_decide_by_themselves(tree):
    root = tree(images("cam1/cat", "cam1/dog", "cam2/cat", "cam2/dog"))
    assert find(root, known=("cat", "dog", "cow")).classes == ("cat", "dog")
    assert find(root, known=("cam1", "cam2", "cam3")).classes == ("cam1", "cam2")
    vehicles = tree(images("train", "test"), "vehicles")
    assert find(vehicles, known=("bus", "test", "train")).classes == ("test", "train")
    for number, within in enumerate(("", "photos/", "photos/holiday/")):
        alone = tree(images(f"{within}cat/2020", f"{within}cat/2021"), f"alone {number}")
        assert find(alone, known=("cat", "dog")).classes == ("cat",)


def test_images_that_lie_between_the_leaves_are_left_out(tree):
    root = tree(images("cam1/cat", "cam1/dog", "cam2/cat", "cam1"))
    data = scan(find(root, classes_from="leaf"))
    assert [path for path, _ in data.quarantine] == ["cam1/0.jpg", "cam1/1.jpg"]
    assert data.classes == ("cat", "dog")


def test_one_folder_in_each_class_says_nothing(tree):
    """As in Tiny ImageNet: n01443537/images/*.JPEG."""
    counts, notes = read(tree(images("cat/images", "dog/images", "cow/images")))
    assert counts == grid(("cat", "dog", "cow"), ("",))
    assert notes == ""


def test_folders_that_stand_in_several_classes_are_told(tree):
    names = ("cam1/cat", "cam1/dog", "cam2/cat", "cam2/dog", "extra")
    counts, notes = read(tree(images(*names)))
    assert counts == {("cam1", ""): 4, ("cam2", ""): 4, ("extra", ""): 2}
    assert "the folders cat, dog stand in several of them: --classes-from leaf" in notes


def test_splits_inside_of_each_class(tree):
    names = itertools.product(("cat", "dog"), ("train", "Test"))
    counts, notes = read(tree(images(*map("/".join, names))))
    assert counts == grid(("cat", "dog"), ("train", "test"))
    assert "splits, inside of each class" in notes


@pytest.mark.parametrize(
    ("prefix", "more"),
    [
        ("photos", {}),
        ("photos/photos", {"README.md": b"x", "photos/labels.csv": b"x"}),
        ("a/b/c", {"__MACOSX/a/._1.jpg": b"x", "__MACOSX/a/1.jpg": IMAGE}),
        (".", {"@eaDir/cat/1.jpg": IMAGE, "cat/@eaDir/1.jpg": IMAGE, ".DS_Store": b"x"}),
    ],
)
@pytest.mark.parametrize("parts", [("",), ("train", "test")])
def test_a_folder_that_lies_alone_is_looked_into(prefix, more, parts, tree):
    names = [f"{prefix}/{part}/{label}" for part in parts for label in ("cat", "dog")]
    root = tree({**images(*names), **more})
    counts, notes = read(root)
    assert counts == grid(("cat", "dog"), parts)
    assert len(scan(find(root)).quarantine) == 0
    assert (f"looked into {prefix}, for it lies alone" in notes) == (prefix != ".")


def test_splits_may_be_wrapped_each_in_itself(tree):
    """As the Intel image set comes: seg_train/seg_train/cat, seg_pred/seg_pred/1.jpg."""
    names = [f"seg_{p}/seg_{p}/{label}" for p in ("train", "test") for label in ("cat", "dog")]
    counts, notes = read(tree(images(*names, "seg_pred/seg_pred")))
    assert counts == grid(("cat", "dog"), ("train", "test"))
    assert "seg_test/seg_test as test" in notes
    assert "not used beside train: seg_pred" in notes


def test_a_wrapper_that_holds_images_is_a_class(tree):
    root = tree(images("photos", "photos/cat", "photos/dog"))
    with pytest.raises(DataError, match="only one class: photos"):
        scan(find(root))


@pytest.mark.timeout(20)
def test_links_that_lead_back_are_no_wrapper_for_ever(tree):
    root = tree({"a/note.txt": b"x"})
    (root / "a/a").symlink_to(root / "a")
    with pytest.raises(DataError):
        scan(find(root))
    (root / "only").mkdir()
    (root / "only/up").symlink_to(root / "only")
    with pytest.raises(DataError):
        scan(find(root / "only"))


def test_links_to_splits_and_classes_are_followed(tree, tmp_path):
    there = tree(images("cat", "dog"), "elsewhere")
    tested = tree(images("cat", "dog", each=3), "tested")
    root = tmp_path / "data"
    root.mkdir()
    (root / "train").symlink_to(there)
    (root / "Test").mkdir()
    for label in ("cat", "dog"):
        (root / "Test" / label).symlink_to(tested / label)
    expected = {("cat", "train"): 2, ("dog", "train"): 2, ("cat", "test"): 3, ("dog", "test"): 3}
    assert read(root)[0] == expected


def test_an_empty_split_is_told_and_left(tree):
    root = tree(images("train/cat", "train/dog"))
    (root / "val").mkdir()
    counts, notes = read(root)
    assert counts == grid(("cat", "dog"), ("train",))
    assert "not used beside train: val (no class folders in it)" in notes


def test_splits_of_different_classes(tree):
    counts, _ = read(tree(images("train/cat", "train/dog", "val/cat", "test/dog")))
    assert counts == {
        ("cat", "train"): 2,
        ("dog", "train"): 2,
        ("cat", "val"): 2,
        ("dog", "test"): 2,
    }
    with pytest.raises(DataError, match="test holds a class that train lacks: cow"):
        find(tree(images("train/cat", "train/dog", "test/cow"), "more"))
    with pytest.raises(DataError, match="only one class: cat"):
        scan(find(tree(images("train/cat", "test/cat"), "one")))


def test_a_split_without_train_is_refused_or_told(tree):
    with pytest.raises(DataError, match=r"no train folder.*found only test, val"):
        find(tree({**images("val/cat", "test/cat"), "docs/read.txt": b"x"}))
    with pytest.raises(DataError, match=r"no train folder.*found only test"):
        find(tree(images("train", "test/cat", "test/dog"), "flat"))
    counts, notes = read(tree(images("val/red", "val/blue", "cat"), "told"))
    assert counts == {("val", ""): 4, ("cat", ""): 2}
    assert "taken as a class, for there is no train beside it: val" in notes


def test_a_table_beside_folders_is_told(tree):
    _, notes = read(tree({**images("train/cat", "train/dog"), "labels.csv": b"path,label\n"}))
    assert notes == "labels.csv is not read, folders name the classes; to go by it, give it as DATA"


def test_the_option_is_for_folders(tmp_path):
    (tmp_path / "x.csv").write_text("path,label\na.jpg,cat\n")
    for data in ("digits", tmp_path / "x.csv"):
        with pytest.raises(UsageError, match="--classes-from is for folders"):
            find(data, classes_from="leaf")


def test_order_of_files_is_as_ever(tree):
    """A run that began before is resumed by the same fingerprint: paths in order of their names."""
    root = tree(images("train/b", "train/a", "test/a", "val/b"))
    paths = find(root).paths
    assert paths == sorted(paths)
    assert np.array_equal(find(root).labels, [0, 0, 0, 0, 1, 1, 1, 1])
