"""Images that are in memory get the answers that their files get; what is no image is told."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from classifiers import made
from polyak.errors import DataError
from samples import encoded, scene


@pytest.fixture(scope="module")
def classifier():
    return made(views="flip")


@pytest.fixture
def files(tmp_path):
    """Three images as files: one large, one turned by EXIF, one with transparency."""
    Image.fromarray(scene(700, 900)).save(tmp_path / "a.jpg", quality=90)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(scene(30, 44)).save(tmp_path / "b.jpg", exif=turned)
    clear = np.dstack([scene(25, 20), np.full((25, 20), 90, np.uint8)])
    Image.fromarray(clear).save(tmp_path / "c.png")
    return sorted(tmp_path.iterdir())


def opened(file):
    """A PIL image that is still to be decoded, and leaves no file open."""
    return Image.open(io.BytesIO(file.read_bytes()))


def test_pil_images_are_read_as_their_files(classifier, files):
    want = classifier.predict(files)
    got = classifier.predict([opened(file) for file in files])
    assert np.array_equal(got.probabilities, want.probabilities)
    assert got.paths == ["0", "1", "2"] and got.unreadable == []
    one = classifier.predict(opened(files[1]))
    assert one.paths == ["0"] and np.allclose(one.probabilities[0], want.probabilities[1])


def test_arrays_and_tensors_of_all_kinds_agree(classifier):
    pixels = np.stack([scene(20, 30), scene(20, 30)[::-1]])
    want = classifier.predict(pixels).probabilities
    assert want.shape == (2, 3) and np.allclose(want.sum(1), 1)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    for other in (list(pixels), tensor, list(tensor), tensor.float() / 255, tensor.double() / 255,
                  (tensor / 255).half(), [Image.fromarray(image) for image in pixels]):  # fmt: skip
        assert np.array_equal(classifier.predict(other).probabilities, want), type(other)
    assert np.allclose(classifier.predict(pixels[0]).probabilities, want[:1], atol=1e-6)
    assert np.allclose(classifier.predict(tensor[1]).probabilities, want[1:], atol=1e-6)
    grey = pixels[0][..., 0]
    both = classifier.predict([grey, np.dstack([grey] * 3)]).probabilities
    assert np.array_equal(both[0], both[1])


def test_what_cannot_be_decoded_is_named_by_its_number(classifier, tmp_path):
    (tmp_path / "half.jpg").write_bytes(encoded(scene(90, 80), "JPEG")[:-900])
    found = classifier.predict([Image.new("RGB", (9, 9)), opened(tmp_path / "half.jpg")])
    assert [name for name, _ in found.unreadable] == ["1"]
    assert "truncated" in found.unreadable[0][1]
    assert np.isnan(found.probabilities).all(1).tolist() == [False, True]
    with pytest.raises(DataError, match="no image could be read: 0: truncated"):
        classifier.predict(opened(tmp_path / "half.jpg"))


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (np.zeros((8, 8, 3)), r"image 0: ndarray float64 \(8, 8, 3\): its levels are not uint8"),
        (np.zeros((3, 8, 8), np.uint8), r"ndarray uint8 \(3, 8, 8\): its shape is not"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"image 0: ndarray uint8 \(8, 8, 4\): its shape"),
        (np.zeros((0, 8, 8, 3), np.uint8), "no images to predict"),
        (np.zeros((8, 0, 3), np.uint8), "its shape"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "its shape"),
        (torch.zeros(8, dtype=torch.uint8), "its shape"),
        (torch.full((3, 8, 8), 1.5), r"leave \[0, 1\]: is it normalised"),
        (torch.full((2, 3, 8, 8), float("nan")), r"leave \[0, 1\]"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "its levels are not uint8"),
        ([torch.zeros(2, 3, 8, 8)], "its shape"),
        ([3], "image 0: int: it is no image"),
        ([np.zeros((8, 8, 3), np.uint8), "a.jpg"], "files and images together"),
        ([], "no images to predict"),
    ],
)
def test_what_is_no_image_is_told_in_a_line(classifier, wrong, line):
    with pytest.raises(DataError, match=line):
        classifier.predict(wrong)
