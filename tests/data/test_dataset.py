import shutil
from dataclasses import replace

import numpy as np
import pytest

from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.data.sources.files import Files
from polyak.data.split import split


@pytest.fixture
def data(tree):
    root = tree({f"{'ab'[i % 2]}/{i}.jpg": (8, 8, i) for i in range(12)})
    (root / "a/bad.jpg").write_bytes(b"")
    return scan(find(root))


def test_the_fingerprint_follows_the_data_and_not_its_place(data, tmp_path):
    shutil.copytree(data.root, tmp_path / "moved")
    moved = scan(find(tmp_path / "moved"))
    assert moved.fingerprint() == data.fingerprint()
    assert split(data, 0.5, 1).fingerprint() == data.fingerprint()


def test_the_fingerprint_sees_names_labels_classes_and_contents(data):
    others = [
        replace(data, source=Files(data.root, ["x", *data.paths[1:]])),
        replace(data, labels=1 - data.labels),
        replace(data, classes=("a", "c")),
        replace(data, digests=data.digests + np.uint64(1)),
        data.take(np.arange(11)),
    ]
    assert len({data.fingerprint(), *(other.fingerprint() for other in others)}) == 6


def test_taking_keeps_rows_together(data):
    some = data.take([3, 1])
    assert some.paths == [data.paths[3], data.paths[1]]
    assert some.digests.tolist() == [data.digests[3].tolist(), data.digests[1].tolist()]
    assert some.labels.tolist() == [data.labels[3], data.labels[1]]


def test_leaving_out_adds_up(data):
    less = data.without([(2, "fell apart"), (5, "too")])
    assert (len(less), less.found) == (10, data.found)
    assert less.quarantine[-2:] == [(data.paths[2], "fell apart"), (data.paths[5], "too")]
    assert data.paths[2] not in less.paths
    assert data.without([]) is data


def test_the_written_split_is_data_again(data, tmp_path):
    chosen = split(data, 0.5, 0)
    chosen.write_split(data.root / "split.csv")
    again = scan(find(data.root / "split.csv"))
    assert again.paths == chosen.paths
    assert again.splits.tolist() == chosen.splits.tolist()
    assert again.fingerprint() == chosen.fingerprint()


def test_the_quarantine_is_written_with_reasons(data, tmp_path):
    data.write_quarantine(tmp_path / "quarantine.csv")
    assert (tmp_path / "quarantine.csv").read_text() == "path,reason\na/bad.jpg,empty file\n"
