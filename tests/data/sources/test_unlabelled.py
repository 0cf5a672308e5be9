"""Every image below what was named is predicted or told of: links, closed folders, circles."""

import os

import pytest

from polyak.data.sources.files import read_file
from polyak.data.sources.folder import list_folder
from polyak.data.sources.unlabelled import list_images
from polyak.data.sources.walk import Walk
from polyak.decoding.unreadable import Unreadable


def names(root, notes=None):
    return [str(path.relative_to(root)) for path in list_images([root], notes)]


def test_linked_folders_are_followed_as_in_training(tree):
    there = tree({f"{i}.jpg": b"" for i in range(40)}, "elsewhere")
    root = tree({"cat/1.jpg": b"", "dog/1.jpg": b""})
    (root / "cat/more").symlink_to(there)
    (root / "cow").symlink_to(there)
    (root / "one.jpg").symlink_to(there / "0.jpg")
    found = names(root)
    assert len(found) == 43
    trained = [path for path in list_folder(root).paths if not path.startswith("cow")]
    assert set(trained) <= {*found, *(path.replace("cow", "cat/more") for path in found)}


def test_a_real_folder_keeps_its_name_and_is_read_once(tree):
    root = tree({"z/1.jpg": b"", "z/deep/2.jpg": b""})
    (root / "a link").symlink_to(root / "z")
    (root / "z/deep/up").symlink_to(root)
    notes = []
    assert names(root, notes) == ["z/1.jpg", "z/deep/2.jpg"]
    assert sorted(notes) == [
        f"folder reached twice through a link, read once: {name}"
        for name in ("a link", "z/deep/up")
    ]


def test_a_link_that_was_named_is_followed(tree, tmp_path):
    root = tree({"1.jpg": b""})
    (tmp_path / "link").symlink_to(root)
    assert names(tmp_path / "link") == ["1.jpg"]


@pytest.mark.timeout(20)
def test_circles_of_links_end_and_are_listed(tree):
    root = tree({"1.jpg": b""})
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    assert names(root) == ["1.jpg", "a", "b"]
    with pytest.raises(Unreadable, match="symbolic links"):
        read_file(root / "a")


def test_a_folder_that_cannot_be_read_is_listed_itself(tree, monkeypatch):
    root = tree({"1.jpg": b"", "closed/2.jpg": b""})
    real = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    notes = []
    assert names(root, notes) == ["1.jpg", "closed"]
    assert notes == ["folder not read: closed: Permission denied"]


def test_what_systems_leave_behind_is_passed_by(tree):
    root = tree({"1.jpg": b"", "@eaDir/1.jpg": b"", "__MACOSX/1.jpg": b"", ".cache/1.jpg": b""})
    assert names(root) == ["1.jpg"]
    assert Walk(root).folders("") == []
