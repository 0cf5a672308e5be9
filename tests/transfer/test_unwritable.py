"""A cache that cannot be written costs the next run a pass, and this one a line."""

import errno
import os

import numpy as np
import pytest

from polyak.data import Images
from polyak.errors import DiskError, Stopped
from polyak.networks import Compact
from polyak.networks.preprocessing import Preprocessing
from polyak.transfer import Settings, cache, extract, probe
from polyak.transfer.solutions import ProbeCache

PAGE = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)


@pytest.fixture
def inputs():
    network = Compact(2, (8, 8), (4, 6))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return network, Images.of(pixels), PAGE, np.zeros((40, 2))


def in_the_way(folder, monkeypatch):
    folder.write_text("a file")


def gone(folder, monkeypatch):
    folder.symlink_to(folder.parent / "no such disk")


def full_at_once(folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np.lib.format, "write_array_header_2_0", refuse)


def full_at_the_end(folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "_seal", refuse)


def too_small(folder, monkeypatch):
    monkeypatch.setattr(cache, "CAP", 10)


@pytest.mark.parametrize("trouble", [in_the_way, gone, full_at_once, full_at_the_end, too_small])
def test_features_and_probes_go_on_without(tmp_path, monkeypatch, inputs, trouble):
    whole = extract(*inputs)
    trouble(tmp_path / "cache", monkeypatch)
    found = extract(*inputs, settings=Settings(folder=tmp_path / "cache"))
    np.testing.assert_array_equal(found.table, whole.table)
    assert "cache" in found.unkept and not found.cached and not whole.unkept
    labels = np.arange(40) % 2
    fitted = ProbeCache(tmp_path / "cache").probe(found.of(["head"]), labels, 2)
    np.testing.assert_array_equal(fitted.weight, probe(whole.of(["head"]), labels, 2).weight)
    if (tmp_path / "cache").is_dir():
        assert not [p for p in (tmp_path / "cache").iterdir() if not p.name.endswith(".lock")]


def test_what_is_kept_is_read_where_nothing_can_be_written(tmp_path, monkeypatch, inputs):
    extract(*inputs, settings=Settings(folder=tmp_path))

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    found = extract(*inputs, settings=Settings(folder=tmp_path))
    assert found.cached and not found.unkept


def test_what_fits_neither_disk_nor_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CAP", 10)
    monkeypatch.setattr("polyak.machine.memory", lambda: 1000)
    with pytest.raises(DiskError, match="do not fit"), cache.making(tmp_path, "x", (100, 100)):
        pass


def test_a_stop_without_a_cache_is_a_stop(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(Stopped), cache.making(tmp_path / "cache", "x", (2, 2)) as new:
        assert new.unkept
        raise Stopped("stopped", signal=15)
