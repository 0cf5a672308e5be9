"""Features: those of the network's own forward pass, once, shared, and never of other images."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.errors import DataError
from polyak.networks import Compact, tapped
from polyak.networks.preprocessing import Preprocessing
from polyak.transfer import Settings, View, cache, extract, extraction

PAGE = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
DIGESTS = np.arange(80, dtype=np.uint64).reshape(40, 2)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Compact(2, (8, 8), (4, 6)).eval()


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 9, 10, 3), dtype=np.uint8)
    return Images.of(pixels)


def test_they_are_the_networks_own(network, images):
    network.whiten(torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    found = extract(network, images, PAGE, DIGESTS)
    how = {"size": PAGE.size, "mean": PAGE.mean, "std": PAGE.std, "batch_size": 40, "seed": 0}
    loader = Loader(images, np.zeros(40, int), View().drawn(1.0), **how, shuffle=False)
    (batch,) = loader.epoch(0)
    with torch.no_grad(), tapped(network, ["stages.0", "head"]) as own:
        network(batch.images)
    assert np.ptp(found.of(["head"])) > 0.1
    np.testing.assert_allclose(found.of(["head"]), own["head"].numpy(), atol=1e-5)
    np.testing.assert_allclose(found.of(["stages.0", "head"])[:, :8], own["stages.0"], atol=1e-5)


def test_the_disk_gives_back_the_same_bits_and_computes_nothing(network, images, tmp_path):
    first = extract(network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path))
    images.block = images.take = None  # images that can no longer be looked at
    second = extract(network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path))
    assert (first.cached, second.cached) == (False, True)
    assert isinstance(second.table, np.memmap)
    np.testing.assert_array_equal(first.table, second.table)


@pytest.mark.parametrize("what", ["file", "weights", "page", "view", "order"])
def test_whatever_changes_the_features_is_in_their_name(network, images, tmp_path, what):
    extract(network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path))
    digests, page, view = DIGESTS.copy(), PAGE, View()
    if what == "file":
        digests[7, 1] += 1
    if what == "order":
        digests = digests[::-1]
    if what == "weights":
        network.stages[0][0].weight.data[0, 0, 0, 0] += 1e-6
    if what == "page":
        page = PAGE._replace(fraction=0.9)
    if what == "view":
        view = View("flip(p=0.5)", epoch=1)
    assert not extract(
        network, images, page, digests, view=view, settings=Settings(folder=tmp_path)
    ).cached


def test_a_new_head_changes_no_features(network, images, tmp_path):
    extract(network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path))
    network.head.weight.data.zero_()
    assert extract(network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path)).cached


def test_augmented_views_differ_and_are_functions(network, images):
    network.whiten(torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    first, again, second = (
        extract(network, images, PAGE, DIGESTS, view=View("rotate(degrees=90)", 0, epoch)).table
        for epoch in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


@pytest.mark.parametrize("damage", ["cut", "flipped", "facts", "empty"])
def test_a_damaged_table_is_made_again(network, images, tmp_path, damage):
    first = np.array(
        extract(network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path)).table
    )
    (whole,) = (path for path in tmp_path.iterdir() if path.is_dir())
    table = whole / "table.npy"
    content = bytearray(table.read_bytes())
    if damage == "cut":
        table.write_bytes(content[:-100])
    if damage == "flipped":
        content[-3] ^= 1
        table.write_bytes(content)
    if damage == "facts":
        (whole / "facts.json").write_text("{")
    if damage == "empty":
        table.unlink()
    second = extract(network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path))
    assert not second.cached
    np.testing.assert_array_equal(first, second.table)
    assert extract(network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path)).cached


class Enough(Exception):
    pass


def stopped(after):
    """A check that has had enough after so many calls."""
    calls = []

    def check():
        calls.append(1)
        if len(calls) > after:
            raise Enough

    return check


def test_a_stop_before_anything_is_done_leaves_nothing(network, images, tmp_path):
    with pytest.raises(Enough):
        extract(
            network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path, check=stopped(0))
        )
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("view", [View(), View("light", seed=3, epoch=1)])
@pytest.mark.parametrize("harm", ["none", "half", "facts"])
def test_after_a_stop_the_rest_is_done_and_all_is_the_same(
    network, images, tmp_path, monkeypatch, view, harm
):
    monkeypatch.setattr("polyak.transfer.features.AHEAD", 0)  # each batch is waited for
    whole = extract(network, images, PAGE, DIGESTS, view=view).table
    how = {"view": view, "settings": Settings(folder=tmp_path)}
    with pytest.raises(Enough):
        extract(network, images, PAGE, DIGESTS, view, Settings(folder=tmp_path, check=stopped(2)))
    (half,) = tmp_path.glob(".half-*")
    if harm == "half":
        table = half / "table.npy"
        table.write_bytes(table.read_bytes()[:-4] + b"spam")
    if harm == "facts":
        (half / "facts.json").write_text("{")
    work = extraction(network, images, PAGE, DIGESTS, **how)
    done = [next(work)]
    with pytest.raises(StopIteration) as end:
        while True:
            done.append(next(work))
    assert done == ([40] if harm == "none" else [16, 32, 40])
    np.testing.assert_array_equal(end.value.value.table, whole)
    assert not list(tmp_path.glob(".half-*"))
    assert extract(network, images, PAGE, DIGESTS, **how).cached


def test_two_threads_share_one_pass(network, images, tmp_path):
    results = []

    def work():
        results.append(extract(network, images, PAGE, DIGESTS, settings=Settings(folder=tmp_path)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.cached for result in results) == [False, True]
    np.testing.assert_array_equal(results[0].table, results[1].table)


HOLD = """
import sys
from pathlib import Path
from polyak.transfer.cache import making, owned
folder = Path(sys.argv[1])
with owned(folder, "x", lambda: None):
    print("held", flush=True)
    sys.stdin.readline()
    with making(folder, "x", (2, 3)) as new:
        new.table[:] = 7
"""


def test_another_process_is_waited_for(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "held\n"
    waits = []

    def check():
        if not waits:
            child.stdin.write("\n")
            child.stdin.flush()
        waits.append(1)

    with cache.owned(tmp_path, "x", check):
        table, failed = cache.read(tmp_path, "x", (2, 3))
    assert waits and table.min() == 7 and failed == []
    child.communicate()


def test_too_large_is_not_kept_and_the_oldest_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CAP", 2000)
    with cache.making(tmp_path, "large", (100, 100)) as new:
        assert "GiB" in new.unkept
    for name in ("old", "new"):
        with cache.making(tmp_path, name, (10, 30)) as new:
            new.table[:] = 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_a_new_table_holds_nothing_yet_and_all_of_its_place(tmp_path):
    with cache.making(tmp_path, "x", (700, 1001)) as new:
        assert np.isnan(new.table).all()
        (file,) = tmp_path.rglob("table.npy")
        assert file.stat().st_blocks * 512 >= 700 * 1001 * 4
        new.table[:] = 1


def test_images_that_cannot_be_read_are_named(network, tmp_path):
    for number in range(20):
        file = tmp_path / f"{number:02}.png"
        Image.new("RGB", (9, 9), (number, 0, 0)).save(file)
    paths = sorted(tmp_path.glob("*.png"))
    opened = Images.open(paths, budget=0)
    paths[3].write_bytes(b"gone")
    found = extract(
        network, opened, PAGE, DIGESTS[:20], settings=Settings(folder=tmp_path / "features")
    )
    again = extract(
        network, opened, PAGE, DIGESTS[:20], settings=Settings(folder=tmp_path / "features")
    )
    assert [position for position, _ in found.failed] == [3]
    assert again.cached and again.failed == found.failed
    assert np.isnan(found.table).all(1).tolist() == [number == 3 for number in range(20)]
    for path in paths:
        path.write_bytes(b"gone")
    with pytest.raises(DataError):
        extract(network, opened, PAGE, DIGESTS[20:])
