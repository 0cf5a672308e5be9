import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.data.sources.files import read_file
from polyak.data.sources.folder import list_folder
from polyak.decoding.header import read_header
from polyak.decoding.unreadable import Unreadable
from polyak.errors import DataError


def _reasons(data):
    return dict(data.quarantine)


def test_every_file_is_used_or_quarantined_with_its_reason(tree, scene, encoded):
    jpeg = encoded(scene(30, 40), "JPEG")
    root = tree(
        {
            "a/1.jpg": jpeg,
            "a/2.jpg": (20, 25, 1),
            "a/wrong name.gif": encoded(scene(5, 6), "PNG"),
            "b/3.JPG": (8, 9, 2),
            "b/no extension": (8, 9, 3),
            "b/zero.jpg": b"",
            "b/text.jpg": b"hello",
            "b/cut.jpg": jpeg[: len(jpeg) // 2],
            "b/large.png": encoded(scene(200, 200), "PNG"),
        }
    )
    (root / "b/gone.jpg").symlink_to(root / "nowhere")
    (root / "b/loop.jpg").symlink_to(root / "b/loop.jpg")
    listing = find(root)
    data = scan(listing, threads=2, pixel_cap=10_000)
    assert len(listing) == data.found == len(data) + len(data.quarantine) == 11
    assert data.paths == ["a/1.jpg", "a/2.jpg", "a/wrong name.gif", "b/3.JPG", "b/no extension"]
    assert data.sizes.tolist() == [[30, 40], [20, 25], [5, 6], [8, 9], [8, 9]]
    reasons = _reasons(data)
    assert reasons["b/zero.jpg"] == "empty file"
    assert reasons["b/text.jpg"] == "text, not an image"
    assert "truncated" in reasons["b/cut.jpg"]
    assert "200x200 pixels" in reasons["b/large.png"]
    assert "No such file" in reasons["b/gone.jpg"]
    assert "symbolic links" in reasons["b/loop.jpg"]


def test_labels_never_move_to_another_image(tree, scene, encoded):
    files = {}
    for i in range(300):  # more than a task of the scan holds
        label = "abc"[i % 3]
        grey = np.full((4, 4), "abc".index(label) * 100 + i % 50, np.uint8)
        files[f"{label}/{i:03}.png"] = b"broken" if i % 7 == 0 else encoded(grey, "PNG")
    data = scan(find(tree(files)), threads=3)
    assert len(data.quarantine) == 43
    for i in range(len(data)):
        level = np.asarray(Image.open(data.source.place(i)))[0, 0]
        assert level // 100 == data.labels[i]


@pytest.mark.timeout(10)
def test_pipes_and_devices_are_not_waited_for(tree):
    root = tree({"a/1.jpg": (8, 8, 0), "b/1.jpg": (8, 8, 1)})
    os.mkfifo(root / "a/pipe.jpg")
    (root / "b/zero.jpg").symlink_to("/dev/zero")
    reasons = _reasons(scan(find(root)))
    assert reasons == dict.fromkeys(("a/pipe.jpg", "b/zero.jpg"), "not a regular file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_closed_file_is_quarantined(tree):
    root = tree({"a/1.jpg": (8, 8, 0), "b/1.jpg": (8, 8, 1), "b/2.jpg": (8, 8, 2)})
    (root / "b/2.jpg").chmod(0)
    assert _reasons(scan(find(root))) == {"b/2.jpg": "Permission denied"}


def test_a_refused_open_is_quarantined(tree, monkeypatch):
    root = tree({"a/1.jpg": (8, 8, 0), "b/1.jpg": (8, 8, 1), "b/2.jpg": (8, 8, 2)})
    real = os.open

    def refuse(path, *rest):
        if str(path).endswith("2.jpg"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    assert _reasons(scan(find(root))) == {"b/2.jpg": "Permission denied"}


def test_a_file_too_large_is_refused_unread(tree):
    root = tree({"a/1.jpg": (8, 8, 0), "b/1.jpg": (8, 8, 1)})
    with (root / "b/huge.jpg").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    begin = time.perf_counter()
    assert "bytes, more than the cap" in _reasons(scan(find(root)))["b/huge.jpg"]
    assert time.perf_counter() - begin < 5


def test_no_image_at_all(tree):
    root = tree({"a/1.jpg": b"", "b/1.jpg": b"text"})
    with pytest.raises(DataError, match=r"no image can be used.*2 files left out.*empty file"):
        scan(find(root))


def test_one_class_is_nothing_to_tell_apart(tree):
    with pytest.raises(DataError, match="only one class: cat"):
        scan(find(tree({"cat/1.jpg": (8, 8, 0)})))


def test_empty_classes_are_left_out_and_named(tree):
    root = tree({"a/1.jpg": (8, 8, 0), "c/1.jpg": (8, 8, 1), "d/1.jpg": b"broken"})
    (root / "b").mkdir()
    data = scan(find(root))
    assert data.classes == ("a", "c")
    assert data.labels.tolist() == [0, 1]
    assert "2 of 4 classes left out, empty: b, d" in data.warnings


def test_a_class_whose_training_images_all_fail_is_refused_when_val_has_it(tree):
    files = {"train/a/1.jpg": (8, 8, 0), "train/b/1.jpg": b"x", "train/c/1.jpg": (8, 8, 2)}
    root = tree({**files, "val/b/1.jpg": (8, 8, 1)})
    with pytest.raises(DataError, match="val holds a class that train lacks: b"):
        scan(find(root))


def test_copies_conflicts_and_leaks_are_counted(tree):
    root = tree(
        {
            "train/a/1.jpg": (8, 8, 0),
            "train/a/again.jpg": (8, 8, 0),
            "train/b/1.jpg": (8, 8, 1),
            "train/b/conflict.jpg": (8, 8, 0),
            "val/b/leak.jpg": (8, 8, 1),
            "val/a/own.jpg": (8, 8, 5),
        }
    )
    text = "\n".join(scan(find(root)).warnings)
    assert "3 files are exact copies of others" in text
    assert (
        "3 files (train/a/1.jpg, train/a/again.jpg, ...) have the same bytes as a file of another"
        " class" in text
    )
    assert (
        "2 files (train/b/1.jpg, val/b/leak.jpg) have the same bytes as a file of another split"
        in text
    )


def test_a_clean_set_has_no_warnings(tree):
    assert scan(find(tree({"a/1.jpg": (8, 8, 0), "b/1.jpg": (8, 8, 1)}))).warnings == []


def test_the_classes_of_a_model_number_the_labels(tree):
    root = tree({"b/1.jpg": (8, 8, 0)})
    data = scan(list_folder(root), classes=("z", "b", "a"))
    assert data.classes == ("z", "b", "a")
    assert data.labels.tolist() == [1]
    with pytest.raises(DataError, match="a class that the model does not know: b"):
        scan(list_folder(root), classes=("a",))


def test_threads_change_nothing(tree):
    root = tree({f"{'ab'[i % 2]}/{i}.jpg": (8, 8 + i % 5, i % 20) for i in range(40)})
    one, many = scan(find(root), threads=1), scan(find(root), threads=8)
    assert one.fingerprint() == many.fingerprint()
    assert one.sizes.tolist() == many.sizes.tolist()


def test_names_with_zero_bytes_are_unreadable_not_a_crash(tmp_path):
    (tmp_path / "x.csv").write_text("path,label\na.jpg,a\nb.jpg,b\n")
    listing = find(tmp_path / "x.csv")
    listing.paths[0] = "a\0.jpg"
    with pytest.raises(DataError, match="null byte"):
        scan(listing)


def test_reading_gives_whole_files_and_leaves_no_handle_open(tmp_path):
    path = tmp_path / "x"
    content = os.urandom(3_000_000)
    path.write_bytes(content)
    handles = Path("/proc/self/fd")
    before = len(list(handles.iterdir())) if handles.is_dir() else 0
    assert all(read_file(path) == content for _ in range(20))
    assert not before or len(list(handles.iterdir())) == before


def test_pillow_does_not_chatter(tree, scene, encoded):
    tiff = bytearray(encoded(scene(20, 20), "TIFF"))
    at = int.from_bytes(tiff[4:8], "little")
    tiff[at + 2 + 4 : at + 2 + 8] = b"\xff\xff\xff\x7f"  # a tag that claims more than the file
    with pytest.warns(UserWarning, match="larger than file"), pytest.raises(Unreadable):
        read_header(bytes(tiff))
    root = tree({"a/1.jpg": (8, 8, 0), "b/1.jpg": (8, 8, 1), "b/2.tif": bytes(tiff)})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert len(scan(find(root)).quarantine) == 1
    assert said == []
