"""A source of one's own: images in an archive are scanned, opened, trained on like files."""

import threading
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from polyak.augment import Policy
from polyak.data import Images, Loader, find, scan, split
from polyak.data.parts import Splits
from polyak.data.sources.listing import Listing
from polyak.data.sources.made import Made
from polyak.decoding.unreadable import Unreadable


class Zipped:
    """Images in a zip archive."""

    def __init__(self, root: Path, keys: list[str]):
        self.root, self.keys = root, keys
        self._archive, self._lock = zipfile.ZipFile(root), threading.Lock()

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, position: int) -> str:
        return f"{self.root}!{self.keys[position]}"

    def read(self, position: int) -> bytes:
        with self._lock:
            try:
                return self._archive.read(self.keys[position])
            except KeyError as error:
                raise Unreadable("it is not in the archive") from error

    def take(self, positions: Iterable[int]) -> "Zipped":
        return Zipped(self.root, [self.keys[i] for i in positions])


@pytest.fixture
def zipped(tiny_folder, tmp_path):
    """The images of `tiny_folder` as a listing of an archive, with one that is not in it."""
    found = find(str(tiny_folder))
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for position, key in enumerate(found.paths):
            archive.writestr(key, found.source.read(position))
    keys = [*found.paths, "lost.png"]
    labels, splits = np.append(found.labels, 0), np.append(found.splits, "")
    return Listing(Zipped(tmp_path / "images.zip", keys), labels, found.classes, splits)


def test_what_is_known_of_its_images_is_what_is_known_of_files(zipped, tiny_folder):
    data, files = scan(zipped), scan(find(str(tiny_folder)))
    assert data.quarantine == [("lost.png", "it is not in the archive")]
    assert list(data.paths) == list(files.paths) and len(data) == 96
    assert data.fingerprint() == files.fingerprint()
    assert (split(data).splits == split(files).splits).all()


@pytest.mark.parametrize("budget", [0, 10**9])
def test_batches_are_those_of_files(zipped, tiny_folder, budget):
    batches = []
    for found in (zipped, find(str(tiny_folder))):
        data = split(scan(found))
        train = Splits.of(data, Images.open(data, budget=budget)).train
        loader = Loader(
            train.images, train.labels, Policy.parse("light"), size=(16, 16), mean=(0.5,) * 3,
            std=(0.5,) * 3, batch_size=8, seed=1, threads=2,
        )  # fmt: skip
        batches.append([batch.images.numpy().copy() for batch in loader.epoch(0)])
    assert len(batches[0]) == len(batches[1]) > 3
    assert all(np.array_equal(a, b) for a, b in zip(*batches, strict=True))


def test_an_image_that_goes_later_is_named_with_its_place(zipped, tmp_path):
    data = scan(zipped)
    images = Images.open(data, budget=0)
    data.source.keys[3] = "gone.png"
    with pytest.raises(Unreadable, match="not in the archive"):
        images[3]
    assert images.lost == {"gone.png": "it is not in the archive"}
    assert images.source.place(3) == f"{tmp_path / 'images.zip'}!gone.png"


def test_made_images_have_numbers_and_no_files():
    made = Made(range(4)).take([3, 1])
    assert list(made.keys) == ["3", "1"]
    with pytest.raises(Unreadable, match="no file"):
        made.read(0)
