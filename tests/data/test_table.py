import csv

import pytest

from polyak.data.sources import find
from polyak.data.table import list_table, write_table
from polyak.errors import DataError


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "data.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_plain_table(table):
    found = list_table(table("path,label,split\na/1.jpg,cat,train\na/2.jpg,dog,val\nb.jpg,dog,\n"))
    assert found.paths == ["a/1.jpg", "a/2.jpg", "b.jpg"]
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 1, 1]
    assert found.splits.tolist() == ["train", "val", ""]
    assert found.root == table("").parent


def test_marks_line_ends_quotes_order_of_columns_and_empty_lines(table):
    text = (
        '\ufeffLabel, Path ,extra\r\n"cat, big","a, ""b"".jpg",1\r\n\r\ndog,"new\nline.jpg",2\r\n'
    )
    found = list_table(table(text))
    assert found.paths == ['a, "b".jpg', "new\nline.jpg"]
    assert found.classes == ("cat, big", "dog")


def test_names_that_are_not_utf8(table):
    found = list_table(table(b"path,label\n\xff.jpg,\xe9\n"))
    assert found.paths == ["\udcff.jpg"]
    assert found.classes == ("\udce9",)


@pytest.mark.parametrize(
    ("text", "column"), [("", "path"), ("path\nx\n", "label"), ("file,label\nx,y\n", "path")]
)
def test_missing_columns_are_named(text, column, table):
    with pytest.raises(DataError, match=f"no column '{column}'"):
        list_table(table(text))


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../x.jpg", "leaves"),
        ("a/../../x.jpg", "leaves"),
        ("/etc/passwd", "absolute"),
        ("C:\\x.jpg", "absolute"),
        ("\\\\host\\x.jpg", "absolute"),
        ("https://example.org/x.jpg", "URL"),
        ("file:///etc/passwd", "URL"),
        ("", "no path"),
        ("..", "leaves"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused_with_their_row(path, why, table):
    with pytest.raises(DataError, match=rf"1 row refused.*row 3: .*{why}"):
        list_table(table(f"path,label\nfine.jpg,cat\n{path},cat\n"))


def test_rows_are_numbered_as_in_an_editor(table):
    with pytest.raises(DataError, match="row 5: no label"):
        list_table(table('path,label\n"a\nb.jpg",cat\n\nx.jpg,\n'))


@pytest.mark.parametrize("row", ["x.jpg,", "x.jpg,nan", "x.jpg, ", "x.jpg,cat,half", "x.jpg"])
def test_labels_and_splits_must_say_something(row, table):
    with pytest.raises(DataError, match="row 2"):
        list_table(table(f"path,label,split\n{row}\n"))


def test_many_refused_rows_are_counted_and_a_few_shown(table):
    with pytest.raises(DataError, match=r"9 rows refused.*\(and 4 more\)"):
        list_table(table("path,label\n" + "../x,cat\n" * 9))


def test_a_row_twice_counts_once_but_must_agree(table):
    assert len(list_table(table("path,label\nx.jpg,cat\n./x.jpg,cat\na/../x.jpg,cat\n"))) == 1
    same = "path,label,split\nx.jpg,cat,val\nx.jpg,cat,Valid\n"
    assert list_table(table(same)).splits.tolist() == ["val"]
    with pytest.raises(DataError, match="row 3: the same path again"):
        list_table(table("path,label\nx.jpg,cat\nx.jpg,dog\n"))


@pytest.mark.parametrize(
    "text", ['path,label\n"x.jpg,cat\n', "path,label\n" + "x" * 200_000 + ",a"]
)
def test_what_is_no_csv_is_refused(text, table):
    with pytest.raises(DataError, match=r"not a CSV.*row 2"):
        list_table(table(text))


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_what_is_written_is_no_formula_and_reads_back_the_same(cell, tmp_path):
    path = tmp_path / "out.csv"
    write_table(path, ["path", "label", "split"], [[f"{cell}.jpg", cell, "train"]])
    with path.open(newline="") as file:
        cells = list(csv.reader(file))[1]
    assert all(text[0] not in "=+-@\t\r" for text in cells)
    found = list_table(path)
    assert found.paths == [f"{cell}.jpg"]
    assert found.classes == (cell,)


def test_hostile_names_come_back_from_a_written_table(tmp_path):
    names = [
        "고양이.jpg",
        "new\nline.jpg",
        'q"uote.jpg',
        "\udcff.jpg",
        "a,b.jpg",
        " x.jpg",
        "👩‍🔬.jpg",
    ]
    path = tmp_path / "out.csv"
    write_table(path, ["path", "label"], [[name, "a"] for name in names])
    assert find(path).paths == names
