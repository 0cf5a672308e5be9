from pathlib import Path

import numpy as np
import pytest

from polyak.data.images import Images
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.decoding.decode import decode
from polyak.decoding.unreadable import Unreadable


@pytest.fixture
def ragged(tree):
    return scan(find(tree({f"{'ab'[i % 2]}/{i:02}.jpg": (10 + i, 20, i) for i in range(20)})))


@pytest.fixture
def uniform(tree):
    return scan(find(tree({f"{'ab'[i % 2]}/{i:02}.jpg": (10, 20, i) for i in range(20)})))


@pytest.mark.parametrize("budget", [0, 5000, 10**9])
@pytest.mark.parametrize("threads", [1, 4])
def test_images_are_the_decoded_files_kept_or_not(ragged, budget, threads):
    images = Images.open(ragged, threads, budget)
    for i in range(len(ragged)):
        assert np.array_equal(images[i], decode(ragged.source.read(i)))
    assert images.failed == []


def test_the_budget_is_kept_and_used(ragged):
    lengths = ragged.sizes.prod(1) * 3
    assert Images.open(ragged, budget=int(lengths[:7].sum())).kept == 7
    assert Images.open(ragged, budget=int(lengths[:7].sum()) - 1).kept == 6
    assert Images.open(ragged, budget=0).kept == 0
    assert Images.open(ragged).kept == 20


def test_kept_images_need_no_files(uniform):
    images = Images.open(uniform, budget=10**9)
    for i in range(len(uniform)):
        Path(uniform.source.place(i)).unlink()
    assert images[19].shape == (10, 20, 3)


@pytest.mark.parametrize("budget", [0, 4000, 10**9])
def test_a_block_is_its_images(uniform, budget):
    images = Images.open(uniform, budget=budget)
    positions = np.array([7, 3, 19, 3])
    assert images.uniform
    block, failed = images.block(positions)
    assert failed == []
    assert all(np.array_equal(a, images[i]) for a, i in zip(block, positions, strict=True))


def test_taking_shares_pixels_and_keeps_them_right(ragged, uniform):
    for data, positions in ((uniform, [4, 2, 9]), (ragged, [5, 5, 5]), (ragged, [1, 0])):
        images = Images.open(data, budget=10**9)
        some = images.take(positions)
        assert all(np.array_equal(some[k], images[i]) for k, i in enumerate(positions))
        if some.uniform:
            block, _ = some.block(np.array([1, 0]))
            assert np.array_equal(block[0], images[positions[1]])


def test_what_fails_to_decode_is_listed_by_position(uniform):
    blob = uniform.source.read(4)
    Path(uniform.source.place(4)).write_bytes(blob[: len(blob) * 2 // 3] + b"\xff\xd9")
    Path(uniform.source.place(11)).unlink()
    images = Images.open(uniform, threads=3, budget=10**9)
    assert [position for position, _ in images.failed] == [4, 11]
    assert "No such file" in images.failed[1][1]
    assert images.good.tolist() == [i for i in range(20) if i not in (4, 11)]
    data = uniform.without(images.failed)
    images = images.take(images.good)
    assert len(data) == len(images) == 18
    assert all(np.array_equal(images[i], decode(data.source.read(i))) for i in range(18))


@pytest.mark.parametrize("budget", [0, 10**9])
def test_a_file_that_changed_its_size_is_refused(uniform, scene, encoded, budget):
    Path(uniform.source.place(3)).write_bytes(encoded(scene(11, 20), "JPEG"))
    images = Images.open(uniform, budget=budget)
    if budget:
        assert images.failed == [(3, "the file has changed since the scan: another size")]
    else:
        with pytest.raises(Unreadable, match="changed since the scan"):
            images[3]


def test_paths_are_measured_and_bad_ones_listed(tree):
    root = tree({"1.jpg": (8, 9, 0), "2.jpg": b"text", "3.jpg": (4, 5, 1)})
    images = Images.open([root / "1.jpg", str(root / "2.jpg"), root / "3.jpg", root / "4.jpg"])
    assert images.sizes[[0, 2]].tolist() == [[8, 9], [4, 5]]
    assert [position for position, _ in images.failed] == [1, 3]
    assert images.failed[0][1] == "text, not an image"
    assert images.take(images.good)[1].shape == (4, 5, 3)


def test_pixels_from_memory(scene):
    pixels = np.stack([scene(6, 7, seed) for seed in range(3)])
    images = Images.of(pixels)
    assert np.array_equal(images[2], pixels[2])
    assert np.array_equal(images.block(np.array([1, 1]))[0], pixels[[1, 1]])


def test_nothing_at_all():
    images = Images.open([])
    assert (len(images), images.kept, images.good.tolist()) == (0, 0, [])


@pytest.mark.parametrize("budget", [0, 10**9])
def test_large_photographs_are_kept_smaller_the_same_kept_or_not(tree, scene, encoded, budget):
    root = tree(
        {
            "a/large.jpg": (200, 260, 0),
            "a/small.jpg": (60, 99, 1),
            "b/edge.jpg": (99, 101, 2),
            "b/large.png": encoded(scene(200, 200), "PNG"),
        }
    )
    data = scan(find(root))
    images = Images.open(data, budget=budget, min_size=(50, 50))
    found = dict(zip(data.paths, images.sizes.tolist(), strict=True))
    assert found == {
        "a/large.jpg": [50, 65],
        "a/small.jpg": [60, 99],
        "b/edge.jpg": [50, 51],
        "b/large.png": [200, 200],
    }
    assert data.sizes[0].tolist() == [200, 260]
    assert images.failed == []
    for i in range(4):
        expected = decode(data.source.read(i), min_size=(50, 50))
        assert np.array_equal(images[i], expected)
        assert np.array_equal(images.take([i])[0], expected)
    assert np.array_equal(Images.open([data.source.place(0)], min_size=(50, 50))[0], images[0])
