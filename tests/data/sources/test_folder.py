import os
import sys

import pytest

from polyak.data.sources.folder import list_folder
from polyak.data.sources.listing import natural
from polyak.errors import DataError

NAMES = [
    "고양이",
    "ねこ",
    "قط",
    "right\u202eto left",
    "👩‍🔬",
    "new\nline",
    "tab\tbed",
    "\x1b[2J",
    "'quote\"",
    "back\\slash",
    "$(id)",
    "%s{}",
    "<script>",
    "[red]x",
    "=CMD()",
    "-rf",
    "CON",
    " lead",
    "n" * 200,
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_class_or_a_file_survives(name, tree):
    root = tree({f"{name}/1.jpg": b"x", f"plain/{name}.jpg": b"x"})
    found = list_folder(root)
    assert set(found.classes) == {name, "plain"}
    assert sorted(found.paths) == sorted([f"{name}/1.jpg", f"plain/{name}.jpg"])
    assert all((root / path).is_file() for path in found.paths)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_names_that_are_not_utf8_are_found_and_open(tree):
    root = tree({"a/1.jpg": b"x"})
    os.makedirs(os.fsencode(root) + b"/\xff\xfe")  # noqa: PTH103  pathlib takes no bytes
    with open(os.fsencode(root) + b"/\xff\xfe/\xe9.jpg", "wb"):  # noqa: PTH123
        pass
    found = list_folder(root)
    assert found.classes == ("a", "\udcff\udcfe")
    assert (root / found.paths[1]).exists()


def test_classes_stand_in_natural_order_and_labels_follow(tree):
    found = list_folder(tree({"c10/a.jpg": b"", "c9/b.jpg": b"", "C1/c.jpg": b"", "0/d": b""}))
    assert found.classes == ("0", "C1", "c9", "c10")
    named = {path: found.classes[i] for path, i in zip(found.paths, found.labels, strict=True)}
    assert named == {"c10/a.jpg": "c10", "c9/b.jpg": "c9", "C1/c.jpg": "C1", "0/d": "0"}


def test_natural_order_survives_numbers_longer_than_any_integer():
    assert sorted(["9" * 5000, "00", "0", "1"], key=natural) == ["0", "00", "1", "9" * 5000]


def test_split_folders_under_all_their_names(tree):
    files = {f"{part}/{c}/1.jpg": b"" for part in ("train", "validation", "Test") for c in "ab"}
    found = list_folder(tree(files))
    assert sorted(zip(found.paths, found.splits.tolist(), strict=True)) == [
        ("Test/a/1.jpg", "test"),
        ("Test/b/1.jpg", "test"),
        ("train/a/1.jpg", "train"),
        ("train/b/1.jpg", "train"),
        ("validation/a/1.jpg", "val"),
        ("validation/b/1.jpg", "val"),
    ]


def test_classes_come_from_train_and_keep_their_order(tree):
    found = list_folder(
        tree({"train/b/1": b"", "train/a/1": b"", "train/c/1": b"", "val/c/1": b""})
    )
    assert found.classes == ("a", "b", "c")
    assert found.labels[found.splits == "val"].tolist() == [2]


def test_a_class_may_be_called_train(tree):
    found = list_folder(tree({"train/1.jpg": b"", "bus/1.jpg": b"", "test/1.jpg": b""}))
    assert found.classes == ("bus", "test", "train")


def test_what_lies_beside_train_is_named(tree):
    found = list_folder(tree({"train/a/1": b"", "train/b/1": b"", "notes/x": b""}))
    assert "notes" in "".join(found.warnings)
    assert len(found) == 2


def test_val_without_train_is_refused(tree):
    with pytest.raises(DataError, match="no train folder"):
        list_folder(tree({"val/a/1.jpg": b""}))


def test_hidden_files_are_no_files_and_folders_below_a_class_belong_to_it(tree):
    found = list_folder(tree({"a/.DS_Store": b"", ".git/x/y": b"", "a/deep/er/1.jpg": b""}))
    assert found.paths == ["a/deep/er/1.jpg"]


@pytest.mark.timeout(20)
def test_links_in_circles_end_and_every_folder_is_read_once(tree):
    root = tree({"a/1.jpg": b"", "b/2.jpg": b""})
    (root / "a/self").symlink_to(root / "a")
    (root / "a/up").symlink_to(root)
    (root / "b/other").symlink_to(root / "a")
    (root / "b/loop1").symlink_to(root / "b/loop2")
    (root / "b/loop2").symlink_to(root / "b/loop1")
    found = list_folder(root)
    names = [path for path in found.paths if "loop" not in path]
    assert sorted(os.path.basename(path) for path in names) == ["1.jpg", "2.jpg"]  # noqa: PTH119
    assert {"b/loop1", "b/loop2"} < set(found.paths)  # left to the scan, which says why
    assert any("reached twice" in line for line in found.warnings)


def test_a_path_longer_than_the_system_allows_is_named_and_left(tree):
    root = tree({"a/1.jpg": b"", "b/1.jpg": b""})
    here, name = os.open(root / "a", os.O_RDONLY), "d" * 200
    for _ in range(30):
        os.mkdir(name, dir_fd=here)
        here = os.open(name, os.O_RDONLY, dir_fd=here)
    found = list_folder(root)
    assert found.paths == ["a/1.jpg", "b/1.jpg"]
    assert any("folder not read" in line for line in found.warnings)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_closed_folder_is_named(tree):
    root = tree({"a/1.jpg": b"", "b/1.jpg": b""})
    (root / "b").chmod(0)
    try:
        assert any("Permission denied" in line for line in list_folder(root).warnings)
    finally:
        (root / "b").chmod(0o755)


def test_twins_are_kept_apart_and_named(tree):
    found = list_folder(tree({"caf\u00e9/1": b"", "cafe\u0301/1": b"", "DOG/1": b"", "dog/1": b""}))
    assert len(found.classes) == 4
    assert sum("differ only in" in line for line in found.warnings) == 2


def test_the_listing_does_not_depend_on_where_or_in_what_order_files_were_made(tree):
    names = [f"{c}/{i}.jpg" for c in "ab" for i in range(20)]
    one = list_folder(tree(dict.fromkeys(names, b""), "one"))
    two = list_folder(tree(dict.fromkeys(reversed(names), b""), "two"))
    assert one.paths == two.paths
    assert one.labels.tolist() == two.labels.tolist()
