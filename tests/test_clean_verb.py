"""`polyak clean`: what was done to a folder is found, told, drawn and left out; no file changes."""

import csv
import hashlib
import shutil

import html5lib
import pytest

from jobs import run
from polyak import cli
from polyak.recipe import make

WEIGHTS = "tf_efficientnet_lite0"


def state(folder):
    """Hash every file below a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*") if file.is_file()
    }  # fmt: skip


@pytest.fixture
def spoilt(tiny_folder, tmp_path, monkeypatch):
    """Squares of which two lie in the wrong folder, one twice, and one in two folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "squares"
    shutil.copytree(tiny_folder, folder)
    for number in (3, 7):
        (folder / "square 0" / f"{number}.jpg").rename(folder / "square 1" / f"wrong {number}.jpg")
    shutil.copy(folder / "square 2" / "5.jpg", folder / "square 2" / "again.jpg")
    shutil.copy(folder / "square 3" / "9.jpg", folder / "square 2" / "<b>torn.jpg")
    return folder


def cleaned(folder, *more):
    """Run the command; give its issues by path."""
    out = folder.parent / "issues.csv"
    typed = ["clean", str(folder), "--weights", WEIGHTS, "--size", "64", "--out", str(out)]
    assert cli.main([*typed, "--threads", "1", *more]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        found.setdefault(row["path"], []).append(row)
    return found


def test_what_was_spoilt_is_found_and_no_file_changes(spoilt, capsys):
    before = state(spoilt)
    found = cleaned(spoilt)
    assert state(spoilt) == before
    kinds = {path: {row["issue"] for row in rows} for path, rows in found.items()}
    for number in (3, 7):
        (row,) = [r for r in found[f"square 1/wrong {number}.jpg"] if r["issue"] == "label"]
        assert (row["label"], row["suggested"], row["exclude"]) == ("square 1", "square 0", "yes")
        assert float(row["probability"]) > 0.5
    assert sum("copy" in one for one in kinds.values()) == 1
    assert kinds["square 2/again.jpg"] | kinds.get("square 2/5.jpg", set()) >= {"copy"}
    assert "contradiction" in kinds["square 3/9.jpg"] & kinds["square 2/<b>torn.jpg"]
    told = capsys.readouterr().out
    assert "contradiction: 2 images" in told and "is right on" in told
    assert f"--exclude {spoilt.parent / 'issues.csv'}" in told


def test_training_without_them_has_none_of_them(spoilt, tmp_path):
    found = cleaned(spoilt)
    gone = {path for path, rows in found.items() if any(r["exclude"] == "yes" for r in rows)}
    end = run(make(
        data=str(spoilt), weights=WEIGHTS, size=64, val=0.25, out=str(tmp_path / "runs"),
        name="job", exclude=spoilt.parent / "issues.csv", threads=1,
    ))  # fmt: skip
    assert end["left_out"] == len(gone) and end["found"] == 98
    with (tmp_path / "runs/job/quarantine.csv").open(newline="") as file:
        assert {row["path"] for row in csv.DictReader(file)} == gone
    with (tmp_path / "runs/job/split.csv").open(newline="") as file:
        assert not gone & {row["path"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(("language", "title"), [("en", "What may be wrong"), ("ko", "잘못되었을")])
def test_the_page_shows_them_and_runs_nothing(spoilt, language, title):
    cleaned(spoilt, "--language", language)
    text = (spoilt.parent / "issues.html").read_text()
    tree = html5lib.parse(text, namespaceHTMLElements=False)
    assert title in text and "<b>torn" not in text
    assert not list(tree.iter("script")) and len(list(tree.iter("img"))) >= 5
    names = [one.get("alt") for one in tree.iter("img")]
    assert "square 1/wrong 3.jpg" in names and "square 2/<b>torn.jpg" in names


def test_twice_is_the_same_and_the_next_command_reads_the_same_data(spoilt, capsys):
    first = cleaned(spoilt)
    assert "--group-by" not in capsys.readouterr().out
    cleaned(spoilt, "--group-by", "square (.)", "--max-pixels", "9M")
    assert "--group-by 'square (.)' --max-pixels 9M" in capsys.readouterr().out
    assert cleaned(spoilt) == first


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (["--weights", "none"], 64, "cleaning starts from weights"),
        (["--out", "/dev/null/issues.csv"], 74, "cannot write"),
        (["--weights", "nowhere.pth"], 64, "nowhere.pth"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(spoilt, capsys, more, code, told):
    assert cli.main(["clean", str(spoilt), *more]) == code
    assert told in capsys.readouterr().err
