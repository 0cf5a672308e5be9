"""What a table leaves out is counted, and what it names in vain is told."""

import pytest

from polyak.data import find, scan
from polyak.data.exclude import excluded, read_excluded
from polyak.errors import DataError


@pytest.fixture
def data(tiny_folder):
    return scan(find(tiny_folder))


def table(tmp_path, text):
    (tmp_path / "issues.csv").write_text(text)
    return str(tmp_path / "issues.csv")


def test_excluded_images_are_in_quarantine_with_the_table_s_name(data, tmp_path):
    first, second = data.paths[0], data.paths[30]
    text = f"path,exclude\n{first},yes\n{second},no\nnowhere.png,yes\n"
    left = excluded(data, table(tmp_path, text))
    assert left.quarantine == [(first, "excluded by issues.csv")]
    assert len(left) == len(data) - 1 and left.found == data.found
    assert left.warnings[-2:] == [
        "1 image excluded by issues.csv",
        "1 path of it name no image here: nowhere.png",
    ]


def test_a_table_of_paths_alone_leaves_all_of_them_out(data, tmp_path):
    names = "\n".join(data.paths[:3])
    assert len(excluded(data, table(tmp_path, f"path\n{names}\n"))) == len(data) - 3
    assert excluded(data, None) is data


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name\na.png\n", "no path to exclude"),
        ("path,exclude\na.png,perhaps\n", "exclude is yes or no.*it is perhaps"),
        ('path\n"a\n', "cannot read what to exclude"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, text, why):
    from pathlib import Path

    with pytest.raises(DataError, match=why):
        read_excluded(Path(table(tmp_path, text)))


def test_a_missing_table_is_refused(data, tmp_path):
    with pytest.raises(DataError, match="No such file"):
        excluded(data, str(tmp_path / "none.csv"))


def test_a_class_does_not_go_in_silence(data, tmp_path):
    names = [path for path, label in zip(data.paths, data.labels, strict=True) if label == 1]
    with pytest.raises(DataError, match="a class is excluded: square 1: no image to train on"):
        excluded(data, table(tmp_path, "path\n" + "\n".join(names) + "\n"))
