"""A CSV that names images, read with suspicion."""

import csv
import re
from functools import cache, partial
from pathlib import Path, PurePosixPath

import numpy as np

from polyak.data.sources.columns import Columns, no_label, read_columns
from polyak.data.sources.files import Files
from polyak.data.sources.label_columns import SEPARATOR, Marked, listed, marked
from polyak.data.sources.listing import Listing, listing, split_of
from polyak.data.table import FORMULA
from polyak.errors import DataError, shown

_LOOKED_FOR = 20  # files: where none of these is there, they lie elsewhere


def list_table(path: Path, separator: str = SEPARATOR) -> Listing:
    r"""List the images that a CSV names: path,label[,split][,group], paths below its folder.

    Several labels an image stand in a column `labels`, with a separator between, or in a column of
    0 and 1 each, where an empty cell is a label that nobody knows. Of a run's split.csv, which has
    a column `digest`, each file must be the one that the run had.

    Args:
        path: of the table.
        separator: of the names in a cell of `labels`.

    Raises:
        UsageError: a column that was perhaps meant otherwise.
        DataError: a column is missing, or rows (numbered as in an editor) are refused.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "data.csv"
    >>> _ = table.write_text("path,label\nx.jpg,cat\n")
    >>> list_table(table).classes
    ('cat',)
    """
    rows = _rows(path)
    columns = read_columns(path, next(rows, (1, []))[1])
    header, notes = columns.names, columns.notes
    found, refused = {}, []
    meaning = cache(partial(_meaning, several=columns.several))
    for number, cells in rows:
        if not any(cells):
            continue
        row = dict(zip(header, cells, strict=False))
        name, why = _place(row.get("path") or "")
        label = row.get("labels") if columns.several else row.get("label")
        value, fault = meaning(label or "", row.get("split") or "")
        if columns.marks:
            value = tuple(row.get(mark, "") for mark in columns.marks), *value[1:]
        if "digest" in row or "group" in row:
            value = *value[:2], row.get("digest", ""), _bare(row.get("group", "")).strip()
        why = why or fault or _odd(cells, header)
        if not why and found.setdefault(name, value) != value:
            why = "the same path again with another label, split or group"
        if why:
            refused.append((number, why))
    if refused:
        _refuse(path, refused)
    labels, splits, digests, groups = ([v[i] for v in found.values()] for i in range(4))
    more = {}
    if "group" in header and any(groups):
        more["groups"] = np.array(groups, object)
    if "digest" in header:
        _refuse_elsewhere(path, list(found))
        more["digests"] = np.frombuffer(bytes.fromhex("".join(digests)), "<u8").reshape(-1, 2)
        notes.append(f"{shown(path.name)} is of a run: each file must be the one that it had")
    source = Files(path.parent, list(found))
    if columns.several:
        one = _several(path, columns, labels, separator)
        lines = [*notes, *one.notes]
        parts = np.array(splits, "U5")
        return Listing(source, one.rows, one.classes, parts, lines, absent=one.absent, **more)
    return listing(source, labels, splits, [*notes, *_doubtful(labels)], **more)


def _several(path: Path, columns: Columns, labels: list, separator: str) -> Marked:
    if not columns.marks:
        return listed(labels, separator, f"{path}, column labels")
    one = marked(columns.marks, labels, path.name)
    if not one.classes:
        raise no_label(path, columns.names)
    return one


def _rows(path):
    before = 1
    try:
        # a byte order mark is dropped; a file name need not be UTF-8
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                yield before, cells
                before = reader.line_num + 1
    except csv.Error as error:
        raise DataError("not a CSV", where=f"{path}, row {before}", why=str(error)) from error
    except OSError as error:
        raise DataError("cannot read the CSV", where=str(path), why=error.strerror or "") from error


def _meaning(label, split, several=False):
    """Give (label, split, room for a digest and a group), and why not."""
    label, split = _bare(label), split.strip().lower()
    means, words = (split_of(split) or ("", "?")) if split else ("", "")
    why = ""
    if not label.strip() and not several:
        why = "no label"
    elif label.strip().lower() == "nan":
        why = f"no label: {label.strip()} is what programs write where there is none, call it else"
    elif words:
        why = f"split '{split[:20]}' is none of train, val, test"
    return (label, means, "", ""), why


def _odd(cells, header):
    """Say what else keeps a row from being read."""
    if any(cells[len(header) :]):
        return f"{len(cells)} cells, and the first line has {len(header)}: quote what holds a comma"
    if (
        "group" in header
        and dict(zip(header, cells, strict=False)).get("group", "").lower() == "nan"
    ):
        return "no group: nan is what programs write where there is none, leave it empty"
    if "digest" in header:
        digest = dict(zip(header, cells, strict=False)).get("digest", "")
        return "" if re.fullmatch("[0-9a-f]{32}", digest) else "no digest of 32 hexadecimal digits"
    return ""


def _refuse_elsewhere(path, names):
    """A split.csv lies in its run, and the images do not."""
    if names and not any((path.parent / name).exists() for name in names[:_LOOKED_FOR]):
        raise DataError(
            "this is the split.csv of a run",
            where=str(path),
            why="its paths begin at the data's folder, and here is none of the files",
            then="give the data itself, or copy this file into the data's folder",
        )


def _doubtful(labels):
    """Tell of labels that look like several."""
    classes = sorted(set(labels))
    several = [one for one in classes if ";" in one or "|" in one or _joined(one, classes)]
    if several:
        yield (
            f"{len(several)} labels such as '{shown(several[0])}' look like several labels; "
            "each is taken for a class of its own"
        )


def _joined(label, classes):
    parts = [part.strip() for part in label.split(",")]
    return len(parts) > 1 and set(parts) <= set(classes)


def _place(name):
    """Give the path below the CSV's folder, and why not."""
    if not name.strip():
        return name, "no path"
    if "://" in name:
        return name, "a URL, not a file"
    if "\0" in name:
        return name, "a zero byte in the path"
    if name.startswith(("/", "\\")) or name[1:3] in (":\\", ":/"):
        return name, "an absolute path"
    plain = _plain(name)
    return plain, "" if plain else "the path leaves the CSV's folder"


def _plain(name):
    """Resolve "." and ".." by the text alone; None when the path leaves its folder."""
    if "." != name[0] and not any(odd in name for odd in ("/.", "//")) and name[-1] != "/":
        return name
    parts = []
    for part in PurePosixPath(name).parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return None
    return "/".join(parts) or None


def _refuse(path, refused):
    several = "; ".join(f"row {number}: {why}" for number, why in refused[:5])
    more = f" (and {len(refused) - 5} more)" if len(refused) > 5 else ""
    raise DataError(
        f"{len(refused)} row{'s' * (len(refused) > 1)} refused",
        where=str(path),
        why=several + more,
        then="correct these rows",
    )


def _bare(cell):
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA) else cell
