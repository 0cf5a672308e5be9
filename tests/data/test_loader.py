import gc
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import samples
from polyak.augment import Policy
from polyak.data.images import Images
from polyak.data.loader import Loader
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.errors import DataError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture
def ragged(tree):
    return scan(find(tree({f"{'ab'[i % 2]}/{i:02}.jpg": (30 + i, 50, i) for i in range(40)})))


@pytest.fixture
def uniform(tree):
    return scan(find(tree({f"{'ab'[i % 2]}/{i:02}.jpg": (32, 32, i) for i in range(90)})))


def _loader(data, budget=10**9, policy="light", **options):
    given = {"size": (24, 28), "mean": MEAN, "std": STD, "batch_size": 8, "seed": 5, "threads": 2}
    policy = Policy.parse(policy)
    return Loader(Images.open(data, budget=budget), data.labels, policy, **{**given, **options})


def _taken(batches):
    return [(b.images.numpy().copy(), b.labels.tolist(), b.indices.tolist()) for b in batches]


def _equal(one, two):
    return len(one) == len(two) and all(
        np.array_equal(a[0], b[0]) and a[1:] == b[1:] for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("name", ["ragged", "uniform"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_threads_and_memory_change_no_bit(name, shuffle, request):
    data = request.getfixturevalue(name)
    one = _taken(_loader(data, threads=1, shuffle=shuffle).epoch(3))
    assert len(one) == len(_loader(data, shuffle=shuffle))
    for threads, budget in ((2, 10**9), (8, 10**9), (2, 0), (3, 30_000)):
        loader = _loader(data, budget, threads=threads, shuffle=shuffle)
        assert _equal(one, _taken(loader.epoch(3)))


def test_the_batch_size_changes_no_pixel(uniform):
    wide = {
        i: x
        for xs, _, ii in _taken(_loader(uniform, batch_size=45).epoch(0))
        for i, x in zip(ii, xs, strict=True)
    }
    for xs, _, indices in _taken(_loader(uniform, batch_size=7).epoch(0)):
        for i, x in zip(indices, xs, strict=True):
            assert np.array_equal(x, wide[i])


@pytest.mark.parametrize("start", [0, 1, 4, 10, 11])
def test_beginning_at_a_batch_equals_having_come_to_it(uniform, start):
    loader = _loader(uniform)
    whole = _taken(loader.epoch(2))
    assert len(whole) == 11
    assert _equal(_taken(loader.epoch(2, start=start)), whole[start:])


def test_beginning_late_reads_none_of_the_files_before(ragged, monkeypatch):
    loader = _loader(ragged, budget=0)
    read = []
    real = Images.__getitem__
    monkeypatch.setattr(Images, "__getitem__", lambda self, i: read.append(i) or real(self, i))
    last = _taken(loader.epoch(0, start=4))
    assert sorted(read) == sorted(last[0][2])


def test_epochs_and_seeds_differ_and_adjacent_ones_do_not_meet(uniform):
    order = {
        (seed, epoch): _loader(uniform, seed=seed).order(epoch, 0).tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({tuple(indices) for indices in order.values()}) == 4


@pytest.mark.parametrize("world", [2, 3, 8])
@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_share_out_the_same_global_batches(uniform, world, shuffle):
    whole = _taken(_loader(uniform, shuffle=shuffle).epoch(1))
    ranks = [
        _taken(_loader(uniform, shuffle=shuffle, rank=r, world=world).epoch(1))
        for r in range(world)
    ]
    for k, (pixels, labels, indices) in enumerate(whole):
        parts = [rank[k] for rank in ranks]
        assert sorted(i for part in parts for i in part[2]) == sorted(indices)
        pixel_of = dict(zip(indices, pixels, strict=True))
        label_of = dict(zip(indices, labels, strict=True))
        for xs, ys, ii in parts:
            assert xs.shape[1:] == (3, 24, 28)
            assert ys == [label_of[i] for i in ii]
            assert all(np.array_equal(x, pixel_of[i]) for x, i in zip(xs, ii, strict=True))


def test_training_leaves_the_incomplete_batch_out_and_evaluation_covers_all_in_order(uniform):
    training, evaluation = _loader(uniform), _loader(uniform, shuffle=False)
    drawn = [i for _, _, ii in _taken(training.epoch(0)) for i in ii]
    assert (len(training), len(drawn), len(set(drawn))) == (11, 88, 88)
    seen = [i for _, _, ii in _taken(evaluation.epoch(0)) for i in ii]
    assert (len(evaluation), seen) == (12, list(range(90)))


def test_a_set_smaller_than_a_batch_is_one_batch(uniform):
    loader = _loader(uniform, batch_size=512)
    assert len(loader) == 1
    assert sorted(_taken(loader.epoch(0))[0][2]) == list(range(90))


def test_batches_are_what_training_wants(uniform):
    batch = next(_loader(uniform).epoch(0))
    assert batch.images.dtype == torch.float32
    assert batch.images.shape == (8, 3, 24, 28)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.dtype == torch.int64
    assert batch.labels.tolist() == uniform.labels[batch.indices].tolist()


def test_evaluation_at_the_own_size_is_the_normalised_image(uniform):
    loader = Loader(
        images := Images.open(uniform),
        uniform.labels,
        Policy.centre(1.0),
        size=(32, 32),
        mean=MEAN,
        std=STD,
        batch_size=16,
        seed=0,
        threads=2,
        shuffle=False,
    )
    expected = torch.from_numpy(images[17].astype(np.float32) / 255).permute(2, 0, 1)
    expected = (expected - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    found = list(loader.epoch(0))[1].images[1]
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_batch_stays_whole_until_two_more_were_taken(uniform):
    loader = _loader(uniform, batch_size=4, threads=4)
    held = []
    for batch in loader.epoch(0):
        held.append((batch.images, batch.images.clone()))
        time.sleep(0.01)  # give the threads every chance to overwrite it
        assert all(torch.equal(lent, copy) for lent, copy in held[-3:])


@pytest.mark.parametrize("name", ["ragged", "uniform"])
def test_an_image_that_vanishes_is_left_out_and_never_replaced(name, request):
    data = request.getfixturevalue(name)
    loader = _loader(data, budget=0)
    whole = _taken(loader.epoch(0))
    gone = whole[1][2][3]
    Path(data.source.place(gone)).unlink()
    for epoch in (0, 0):
        found = _taken(loader.epoch(epoch))
        pixels, labels, indices = whole[1]
        kept = [k for k in range(8) if k != 3]
        assert np.array_equal(found[1][0], pixels[kept])
        assert found[1][1] == [labels[k] for k in kept]
        assert found[1][2] == [indices[k] for k in kept]
        assert _equal(found[:1] + found[2:], whole[:1] + whole[2:])
    assert loader.failed == [(gone, "No such file or directory")]


def test_a_batch_of_nothing_but_failures_stops_loudly(ragged):
    loader = _loader(ragged, budget=0)
    for i in range(len(ragged)):
        Path(ragged.source.place(i)).unlink()
    with pytest.raises(DataError, match="no image of a batch could be read"):
        list(loader.epoch(0))
    assert not _workers()


def test_a_mistake_in_a_thread_reaches_the_caller(uniform, monkeypatch):
    loader = _loader(uniform)
    monkeypatch.setattr(Policy, "plan", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(loader.epoch(0))


def _workers():
    return [t for t in threading.enumerate() if t.name.startswith("polyak-loader")]


@pytest.mark.parametrize("how", ["exhausted", "closed", "dropped", "raised"])
def test_no_thread_is_left_behind(uniform, how):
    batches = _loader(uniform, threads=3).epoch(0)
    next(batches)
    assert _workers()
    if how == "exhausted":
        list(batches)
    elif how == "closed":
        batches.close()
    elif how == "raised":
        with pytest.raises(KeyError):
            batches.throw(KeyError)
    del batches
    gc.collect()
    assert not _workers()


def test_work_goes_on_while_the_caller_is_busy(ragged):
    loader = _loader(ragged, budget=0, batch_size=4)
    batches = loader.epoch(0)
    next(batches)
    done = []
    real = loader._draw
    loader._draw = lambda *a: done.append(1) or real(*a)
    next(batches)
    time.sleep(0.3)
    assert done  # a later batch was drawn without anybody asking


def test_the_order_of_seed_0_is_pinned(uniform):
    loader = _loader(uniform, seed=0)
    assert loader.order(0, 0).tolist() == [37, 87, 45, 71, 6, 72, 60, 76]


@pytest.mark.parametrize("name", ["ragged", "uniform"])
def test_each_batch_tells_what_decoding_and_rendering_took(name, request, monkeypatch):
    data = request.getfixturevalue(name)
    real = Images._decoded

    def slow(self, position):
        time.sleep(0.01)
        return real(self, position)

    list(_loader(data).epoch(0))  # compiles
    quick = sum(sum(batch.work) for batch in _loader(data).epoch(0))
    loader = _loader(data, budget=0, threads=3)
    monkeypatch.setattr(Images, "_decoded", slow)
    began = time.perf_counter()
    batches = list(loader.epoch(0))
    wall = time.perf_counter() - began
    for batch in batches:
        assert batch.work[0] > 0.01 * len(batch.indices) > batch.work[1] > 0
    assert sum(sum(batch.work) for batch in batches) < 3 * wall  # three threads
    assert quick < 0.01 * len(data)  # from memory nothing is decoded


def test_large_images_of_one_size_are_drawn_one_by_one(tree, monkeypatch):
    data = scan(find(tree({f"{'ab'[i % 2]}/{i:02}.jpg": (64, 64, i) for i in range(12)})))
    whole = [batch.images.clone() for batch in _loader(data, budget=0).epoch(0)]
    monkeypatch.setattr("polyak.data.loader.SMALL", 64 * 64 - 1)
    monkeypatch.setattr(Images, "block", lambda *_: pytest.fail("as many as a thread draws"))
    for budget in (0, 10**9):
        parts = [batch.images.clone() for batch in _loader(data, budget=budget).epoch(0)]
        assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_a_turn_is_held_until_a_large_image_is_drawn(tree, monkeypatch):
    from polyak.data import loader as module
    from polyak.decoding import turns

    gate, drawn = turns.Turns(1_500_000), []
    monkeypatch.setattr(turns, "_turns", lambda: gate)
    inner = module.render
    monkeypatch.setattr(module, "render", lambda *how: drawn.append(gate.taken) or inner(*how))
    data = scan(find(tree({f"{'ab'[i % 2]}/{i}.png": _png(i) for i in range(4)})))
    list(_loader(data, budget=0, threads=4, batch_size=2).epoch(0))
    assert drawn and set(drawn) == {1_001_000}
    drawn.clear()
    list(_loader(data, threads=4, batch_size=2).epoch(0))  # those in memory wait for nobody
    assert set(drawn) == {0} and gate.taken == 0


def _png(seed):
    return samples.encoded(samples.scene(1001, 1000, seed), "PNG")
