import os

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from polyak.data.scan import scan
from polyak.data.sources import digits, find
from polyak.errors import DataError, DiskError


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"no such file or folder.*DATA/cat/1\.jpg"):
        find(tmp_path / "absent")


def test_another_kind_of_file(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(DataError, match="neither a folder nor a CSV"):
        find(tmp_path / "x.bin")


def test_an_empty_folder_and_images_without_class_folders(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        find(tmp_path / "empty")
    with pytest.raises(DataError, match=r"no class folders.*one folder a class"):
        find(tree({"1.jpg": (8, 8, 0), "2.jpg": (8, 8, 1)}))


def test_only_empty_classes(tmp_path):
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/b").mkdir()
    with pytest.raises(DataError, match="no images"):
        find(tmp_path / "data")


def test_a_table_of_no_rows(tmp_path):
    (tmp_path / "x.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="no images"):
        find(tmp_path / "x.csv")


def test_a_class_that_train_lacks_is_refused(tree):
    with pytest.raises(DataError, match="test holds a class that train lacks: zebra"):
        find(tree({"train/a/1": b"", "train/b/1": b"", "test/zebra/1": b""}))


def test_digits_are_scikit_learns_and_a_fifth_of_each_is_test(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = find("digits")
    original = load_digits()
    assert found.classes == tuple("0123456789")
    seen = {}
    for path, label in zip(found.paths, found.labels, strict=True):
        number = int(os.path.basename(path)[:-4])  # noqa: PTH119
        assert original.target[number] == label
        seen[number] = np.asarray(Image.open(found.root / path))
    assert sorted(seen) == list(range(1797))
    levels = np.stack([seen[i] for i in range(1797)]) / (255 / 16)
    assert np.abs(levels - original.images).max() < 0.04
    share = [(found.splits[found.labels == i] == "test").mean() for i in range(10)]
    assert min(share) > 0.19
    assert max(share) < 0.21


def test_digits_are_written_once_and_leave_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = find("digits")
    stamp = (first.root / first.paths[0]).stat().st_mtime_ns
    assert (find("digits").root / first.paths[0]).stat().st_mtime_ns == stamp
    assert [path.name for path in (tmp_path / "polyak").iterdir()] == ["digits-1"]


def test_without_a_cache_digits_lie_in_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = scan(find("digits"))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    digits._passing.cache_clear()
    found = find("digits")
    (line,) = found.warnings
    assert "temporary folder" in line and "Not a directory" in line
    assert scan(found).fingerprint() == kept.fingerprint()
    assert find("digits").root == found.root  # written once
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    digits._passing.cache_clear()
    with pytest.raises(DiskError):
        find("digits")


def test_a_folder_of_that_name_is_reached_by_its_path(tree, monkeypatch):
    monkeypatch.chdir(tree({"digits/a/1": b"", "digits/b/1": b""}))
    assert find("./digits").classes == ("a", "b")
