import csv

import pytest

from polyak import cli
from polyak.data.scan import scan
from polyak.data.sources import find
from polyak.data.sources.csv_table import list_table
from polyak.data.split import split
from polyak.data.table import write_table
from polyak.errors import DataError, UsageError


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
    ("text", "column"), [("", "path"), ("path\nx\n", "label"), ("place,label\nx,y\n", "path")]
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


@pytest.mark.parametrize(
    ("header", "near", "meant"),
    [
        ("path,label,subset", "subset", "split"),
        ("path,label,set", "set", "split"),
        ("path,label,fold", "fold", "split"),
        ("path,label,splt", "splt", "split"),
        ("path,class", "class", "label"),
        ("path,Class Name", "class name", "label"),
        ("path,lable", "lable", "label"),
        ("filename,label", "filename", "path"),
        ("Image-Path,label", "image-path", "path"),
    ],
)
def test_a_column_that_was_perhaps_meant_otherwise_is_asked_about(header, near, meant, table):
    with pytest.raises(UsageError, match=f"is this a {meant}.*column {near}.*call it {meant}"):
        list_table(table(f"{header}\nx.jpg,cat,train\n"))


def test_columns_that_are_not_used_are_told(table):
    found = list_table(table("path,label,split,set,width,group,\na.jpg,cat,train,1,8,9,\n"))
    assert found.warnings == ["columns of data.csv that are not used: set, width"]
    assert list_table(table("path,label,split\na.jpg,cat,val\n")).warnings == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("path,label,labels\nx.jpg,a,a;b\n", "columns label and labels"),
        ("path,label,Label\nx.jpg,a,b\n", "a column stands twice.*column label"),
        ("path;label\nx.jpg;cat\n", "separate cells by commas"),
        ("path,label\na,b.jpg,cat\n", "row 2: 3 cells, and the first line has 2"),
        ("path,label\nx.jpg,nan\n", "no label: nan is what programs write"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(text, why, table):
    with pytest.raises(DataError, match=why):
        list_table(table(text))


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (("1", "1.0", "2"), "classes '1' and '1.0' are one number"),
        (("01", "1", "2"), "classes '01' and '1' are one number"),
        (("-3", "-3.50", "-3.5"), "classes '-3.5' and '-3.50' are one number"),
        (("a", "b", "a;b"), "1 labels such as 'a;b' look like several"),
        (("a|b", "b|c", "c"), "2 labels such as 'a|b' look like several"),
        (("a", "b", "a, b"), "1 labels such as 'a, b' look like several"),
    ],
)
def test_labels_that_are_doubtful_are_told(labels, told, table):
    rows = "".join(f'{i}.jpg,"{label}"\n' for i, label in enumerate(labels))
    found = list_table(table(f"path,label\n{rows}"))
    assert sorted(found.classes) == sorted(labels)
    assert [told in line for line in found.warnings] == [True]


def test_labels_that_only_look_alike_are_not(table):
    rows = "".join(
        f'{i}.jpg,"{name}"\n' for i, name in enumerate(("10", "1", "cat, big", "1a", "-1"))
    )
    assert list_table(table(f"path,label\n{rows}")).warnings == []


@pytest.mark.parametrize(
    "text", ["x" * 200_000 + ",label\n", "path,label\n'" + "x" * 200_000 + "',a"]
)
def test_a_cell_as_long_as_a_book_is_one_line(text, table, capsys):
    assert cli.main(["doctor", str(table(text))]) == 65
    assert len(capsys.readouterr().err.splitlines()) == 1


# a run's split.csv has a digest of each file


@pytest.fixture
def split_csv(tree, tmp_path):
    """The split.csv of a run: (the folder of the data, the table's text)."""
    root = tree({f"{c}/{i}.jpg": (8, 8, 10 * n + i) for n, c in enumerate("ab") for i in range(4)})
    data = split(scan(find(root)), 0.25, 0)
    names = (data.classes[i] for i in data.labels)
    digests = (row.astype("<u8").tobytes().hex() for row in data.digests)
    rows = zip(data.paths, names, data.splits, digests, strict=True)
    write_table(tmp_path / "split.csv", ["path", "label", "split", "digest"], rows)
    return root, (tmp_path / "split.csv").read_text()


def test_a_split_of_a_run_is_read_with_its_digests(split_csv):
    root, text = split_csv
    (root / "split.csv").write_text(text)
    data = scan(find(root / "split.csv"))
    assert sorted(data.splits.tolist()) == ["train"] * 6 + ["val"] * 2
    assert any("each file must be the one that it had" in line for line in data.warnings)
    (root / "a/0.jpg").write_bytes((root / "b/1.jpg").read_bytes())
    left = scan(find(root / "split.csv"))
    assert left.quarantine == [("a/0.jpg", "another image than the table says: its digest differs")]
    assert left.found == 8


def test_a_split_of_a_run_is_no_data_where_the_run_lies(split_csv, tmp_path):
    with pytest.raises(DataError, match=r"this is the split\.csv of a run.*give the data itself"):
        find(tmp_path / "split.csv")


@pytest.mark.parametrize("digest", ["", "12", "g" * 32, "A" * 32])
def test_a_digest_that_is_none_is_refused(digest, table):
    with pytest.raises(DataError, match="row 2: no digest of 32"):
        list_table(table(f"path,label,digest\nx.jpg,cat,{digest}\n"))
