"""Several labels in a table: names in a cell, or a column of 0 and 1 each."""

import numpy as np
import pytest
from PIL import Image

from polyak.data import find, scan, split
from polyak.data.folds import fold_numbers
from polyak.errors import DataError, UsageError


@pytest.fixture
def table(tmp_path):
    """Write a table, and a different image for each name in it."""

    def write(text, **options):
        (tmp_path / "data.csv").write_text(text)
        for number, line in enumerate(text.splitlines()[1:]):
            if name := line.split(",")[0]:
                Image.new("RGB", (8, 8), (number, number, 9)).save(tmp_path / name)
        return find(tmp_path / "data.csv", **options)

    return write


LISTED = "path,labels,split\na.png,cat;dog,\nb.png,dog,test\nc.png,,\nd.png, cat ; dog ;,\n"


def test_names_in_a_cell(table):
    found = table(LISTED)
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [[1, 1], [0, 1], [0, 0], [1, 1]]
    assert found.splits.tolist() == ["", "test", "", ""]
    assert found.warnings == ["1 image without a label: it has none of the classes"]
    assert scan(found).kind.several


def test_columns_of_marks(table):
    found = table("path,Dog,cat,split,width\na.png,1,0,,30\nb.png,,1.0,,40\nc.png,true,False,,5\n")
    assert found.classes == ("cat", "Dog")
    assert found.labels.tolist() == [[0, 1], [1, -1], [0, 1]]
    assert found.warnings == [
        "columns of data.csv that are not used: width",
        "1 labels are not known (16.7%): they take part in nothing",
    ]


def test_one_column_of_marks_is_a_question_of_yes_or_no(table):
    data = scan(table("path,cracked\na.png,1\nb.png,0\n"))
    assert data.classes == ("cracked",) and data.counts().tolist() == [1]


@pytest.mark.parametrize(("text", "options", "line"), [
    ("path,labels\na.png,cat|dog\nb.png,dog\n", {},
     r"is this the separator of labels.*stands nowhere, and 1 cell such as 'cat\|dog' hold"),
    ("path,labels\na.png,nan\n", {}, "no label: nan is what programs write"),
    ("path,label,labels\na.png,cat,dog\n", {}, "columns label and labels.*take the other out"),
    ("path,cat,cat\na.png,1,0\n", {}, "a column stands twice.*column cat"),
    ("path,cat,dog\na.png,1,0\nb.png,0,2\nc.png,1,1\n", {},
     "a label is 1, 0, or empty.*column dog.*'2' in row 3 is neither"),
    ("path,width\na.png,30\n", {}, "no column 'label'"),
    ("path,labels,split\na.png,cat,\nb.png,dog,test\n", {}, "test holds a class that train lacks"),
    ("path,labels\na.png,cat;dog\na.png,dog\n", {}, "the same path again with another label"),
    ("path,labels\na.png,cat\n", {"label_separator": " "}, None),
])  # fmt: skip
def test_what_is_unclear_is_refused(table, text, options, line):
    if line is None:
        assert table(text, **options).classes == ("cat",)
        return
    with pytest.raises((DataError, UsageError), match=line):
        table(text, **options)


def test_another_separator(table):
    assert table("path,labels\na.png,cat|dog\nb.png,dog\n", label_separator="|").classes == (
        "cat", "dog",
    )  # fmt: skip


def test_a_label_that_no_image_has_is_left_out(table):
    data = scan(table("path,cat,dog\na.png,1,0\nb.png,0,0\n"))
    assert data.classes == ("cat",) and data.labels.tolist() == [[1], [0]]
    assert "1 of 2 classes left out, empty: dog" in data.warnings


def test_a_model_knows_labels_by_name_and_what_is_not_named_is_not_known(table):
    marked = table("path,dog,cat\na.png,1,0\n")
    assert scan(marked, classes=("bird", "cat", "dog")).labels.tolist() == [[-1, 0, 1]]
    named = table("path,labels\na.png,dog\n")
    assert scan(named, classes=("bird", "cat", "dog")).labels.tolist() == [[0, 0, 1]]
    with pytest.raises(DataError, match="a class that the model does not know"):
        scan(named, classes=("bird", "cat"))


def test_a_split_is_written_as_it_can_be_read(table, tmp_path):
    data = split(scan(table("path,cat,a;b\na.png,1,\nb.png,0,1\nc.png,1,0\nd.png,0,1\n")), 0.5)
    data.write_split(tmp_path / "split.csv")
    again = scan(find(tmp_path / "split.csv"))
    assert again.classes == ("a;b", "cat")
    assert (again.labels == data.labels).all() and (again.splits == data.splits).all()
    assert again.fingerprint() == data.fingerprint()


def test_splits_and_folds_deal_the_rarest_label_first(table):
    lines = [f"{i}.png,1,{int(i % 10 == 0)}" for i in range(60)]
    data = scan(table("\n".join(["path,common,rare", *lines])))
    chosen = split(data, 0.25, 0)
    assert chosen.part("val").counts().tolist()[1] in (1, 2)
    fold = fold_numbers(data, 3, 0)
    assert [int(data.labels[fold == k][:, 1].sum()) for k in range(3)] == [2, 2, 2]


def test_copies_of_other_labels_are_told(table, tmp_path):
    table("path,labels\na.png,cat;dog\nb.png,dog\nc.png,cat\n")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    data = scan(find(tmp_path / "data.csv"))
    assert any("the same bytes as a file of another class" in line for line in data.warnings)
    assert len(np.unique(data.copies())) == 3


def test_ten_thousand_labels(table):
    names = ";".join(f"label {i}" for i in range(10_000))
    found = table(f"path,labels\na.png,{names}\nb.png,label 7\n")
    assert found.labels.shape == (2, 10_000) and found.labels[1].sum() == 1
    assert found.classes[:3] == ("label 0", "label 1", "label 2")


def test_more_cells_than_memory_are_refused(table, monkeypatch):
    monkeypatch.setattr("polyak.data.sources.label_columns.LARGEST", 3)
    with pytest.raises(DataError, match=r"too many labels.*2 labels of 2 images"):
        table("path,labels\na.png,cat;dog\nb.png,dog\n")
