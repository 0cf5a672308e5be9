"""Whatever lies in the folder or stands in the way: one line, a stable exit code, nothing lost."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from jobs import results
from polyak import cli
from polyak.rundir import directory
from typed import image, one_line


@pytest.fixture
def folder(tiny_folder, tmp_path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(tiny_folder, copy)
    return copy


def test_odd_images_are_used(folder, train):
    cats = folder / "square 0"
    image(1).convert("CMYK").save(cats / "cmyk.jpg")
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(cats / "deep.png")
    transparent = image(2).convert("P")
    transparent.save(cats / "palette.png", transparency=0)
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        image(10 + turn).save(cats / f"turned{turn}.jpg", exif=exif)
    image(3, (1, 1)).save(cats / "dot.png")
    image(4, (1, 5000)).save(cats / "line.png")
    for number, name in enumerate(("고양이", "🐈", "new\nline", "\u202egpj.exe", "=1+1")):
        (folder / name).mkdir()
        for i in range(5):
            image(100 + 10 * number + i).save(folder / name / f"{i}.png")
    code, out, _ = train(folder)
    assert code == 0
    total = 96 + 1 + 1 + 1 + 8 + 2 + 25
    assert f"{total} files found = {total} used + 0 left out" in out
    assert "\u202e" not in out


def test_bad_files_are_left_out_by_name(folder, train, tmp_path):
    cats = folder / "square 0"
    (cats / "empty.jpg").touch()
    (cats / "text.jpg").write_text("I am no image")
    whole = (cats / "0.jpg").read_bytes()
    for tenth in range(10):
        (cats / f"cut{tenth}.jpg").write_bytes(whole[: 1 + len(whole) * tenth // 10])
    bomb = bytearray(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    bomb += (60000).to_bytes(4) * 2 + b"\x08\x02\0\0\0" + b"\0" * 40
    (cats / "bomb.png").write_bytes(bomb)
    os.mkfifo(cats / "pipe.jpg")
    (cats / "loop").symlink_to(folder)
    (cats / "nowhere.jpg").symlink_to("gone.jpg")
    code, out, _ = train(folder)
    assert code == 0
    left = (tmp_path / "runs/data/quarantine.csv").read_text().splitlines()[1:]
    names = sorted(Path(line.split(",")[0]).name for line in left)
    cut = [f"cut{i}.jpg" for i in range(10)]
    assert names == sorted(["empty.jpg", "text.jpg", *cut, "bomb.png", "pipe.jpg", "nowhere.jpg"])
    assert all(len(line.split(",", 1)[1]) > 5 for line in left)
    assert "111 files found = 96 used + 15 left out" in out


def test_a_class_of_one_and_an_empty_class_are_told(folder, train):
    (folder / "alone").mkdir()
    image().save(folder / "alone" / "1.png")
    (folder / "nobody").mkdir()
    code, out, _ = train(folder)
    assert code == 0
    assert "alone" in out
    assert "nobody" in out
    assert "5 classes" in out


# what folders mean


@pytest.fixture
def cameras(tiny_folder, tmp_path) -> Path:
    """The same classes below each of two folders."""
    for label in sorted(tiny_folder.iterdir()):
        for file in label.iterdir():
            there = tmp_path / "data" / f"cam{int(file.stem) % 2}" / label.name
            there.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, there)
    return tmp_path / "data"


@pytest.mark.parametrize("verb", ["train", "plan", "doctor", "race", "augment"])
def test_every_verb_refuses_a_tree_of_two_meanings(verb, cameras, tmp_path, capsys):
    name = "a.png" if verb == "augment" else "runs"
    out = [] if verb == "doctor" else ["--out", str(tmp_path / name)]
    if verb == "plan":  # its weights are looked for first
        (tmp_path / "resnet18.pth").touch()
        out += ["--weights", str(tmp_path / "resnet18.pth")]
    assert cli.main([verb, str(cameras), *out]) == 65
    error = one_line(capsys.readouterr().err.strip())
    assert "read in two ways" in error and "--classes-from leaf" in error


def test_the_choice_is_kept_for_evaluate_and_resume(cameras, tmp_path, capsys, train):
    code, out, _ = train(cameras, "--classes-from", "leaf", "--name", "leaf")
    assert code == 0 and "4 classes" in out
    run = tmp_path / "runs/leaf"
    assert yaml.safe_load((run / "config.yaml").read_text())["classes_from"] == "leaf"
    text = (run / "model.safetensors").read_bytes()[:20_000]
    assert b"classes_from" not in text  # what is of the data's tree is not of the model
    assert cli.main(["evaluate", str(run), str(cameras), "--split", "val", "--json"]) in (0, 64)
    assert cli.main(["evaluate", str(run), str(cameras), "--classes-from", "top"]) == 65
    assert "does not know: cam0, cam1" in capsys.readouterr().err
    before = results(run)
    for name in ("metrics.jsonl", "model.safetensors"):
        (run / name).unlink()
    assert cli.main(["train", "--resume", "--out", str(tmp_path / "runs")]) == 0
    assert results(run) == before


@pytest.mark.parametrize("stray", ["Thumbs.db", "labels.csv", ""])
def test_doctor_and_train_read_the_same_splits(stray, tiny_folder, tmp_path, capsys, train):
    for part in ("Training", "Testing"):
        shutil.copytree(tiny_folder, tmp_path / "data" / part)
    if stray:
        (tmp_path / "data" / "Training" / stray).write_text("path,label\n")
    assert cli.main(["doctor", str(tmp_path / "data")]) == 0
    told = capsys.readouterr().out
    code, out, _ = train(tmp_path / "data")
    assert code == 0
    assert "splits     96 train, 96 test" in told and "classes    4: 48 to 48 images each" in told
    assert "192 files found = 192 used + 0 left out; 72 train, 24 val, 96 test; 4 classes" in out
    for text in (told, out):
        assert "read as splits: Training as train, Testing as test" in text


@pytest.mark.parametrize("case", ["one class", "no images", "no folder", "empty"])
def test_unusable_data_leaves_with_65(case, tmp_path, train):
    data = tmp_path / "data"
    if case != "no folder":
        data.mkdir()
    if case == "one class":
        (data / "cat").mkdir()
        image().save(data / "cat" / "1.png")
    if case == "no images":
        for name in ("cat", "dog"):
            (data / name).mkdir()
            (data / name / "notes.txt").write_text("later")
    code, _, error = train(data)
    assert code == 65
    one_line(error)
    assert not list((tmp_path / "runs").glob("[!.]*"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("name,label\nx.png,cat\n", "no column 'path'"),
        ("path,label\n../../etc/passwd,cat\n", "row 2"),
        ("path,label\n/etc/passwd,cat\n", "row 2"),
        ("path,label\nhttp://a/b.png,cat\n", "row 2"),
    ],
)
def test_a_bad_table_leaves_with_65(table, said, tmp_path, train):
    (tmp_path / "data.csv").write_text(table)
    code, _, error = train(tmp_path / "data.csv")
    assert code == 65
    assert said in one_line(error)


# what the machine does


def test_a_full_disk_keeps_what_there_was(tiny_folder, train, tmp_path, monkeypatch):
    train(tiny_folder, "--name", "whole", "--save-every", "0")
    count, real = [0], os.fsync

    def full(handle):
        count[0] += 1
        if count[0] > 25:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle)

    monkeypatch.setattr(os, "fsync", full)
    code, _, error = train(tiny_folder, "--name", "full", "--save-every", "0")
    monkeypatch.undo()
    assert code == 74
    assert "No space left on device" in one_line(error)
    assert not list((tmp_path / "runs/full").rglob("*.tmp"))
    code, _, _ = train(tiny_folder, "--name", "full", "--save-every", "0", "--resume")
    assert code == 0
    assert results(tmp_path / "runs/full") == results(tmp_path / "runs/whole")


def test_an_out_that_cannot_be_written_is_told_before_work(tiny_folder, train, tmp_path):
    (tmp_path / "file").touch()
    code, out, error = train(tiny_folder, "--out", str(tmp_path / "file" / "runs"))
    assert code == 74
    assert "cannot write" in one_line(error)
    assert out == ""


def test_two_runs_in_one_directory(tiny_folder, train, tmp_path):
    assert train(tiny_folder, "--name", "mine")[0] == 0
    before = results(tmp_path / "runs/mine")
    code, _, error = train(tiny_folder, "--name", "mine")
    assert code == 73
    assert "--resume" in one_line(error)
    owned = directory.lock(tmp_path / "runs/mine")
    (tmp_path / "runs/mine/metrics.jsonl").write_text("")  # as if it were unfinished
    code, _, error = train(tiny_folder, "--name", "mine", "--resume")
    owned.release()
    assert code == 73
    assert "another process" in one_line(error)
    assert results(tmp_path / "runs/mine") == before


def test_runs_without_a_name_are_numbered(tiny_folder, train, tmp_path):
    for _ in range(3):
        assert train(tiny_folder)[0] == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["tiny0", "tiny0-2", "tiny0-3"]


def test_a_loss_that_is_not_finite_leaves_with_66(tiny_folder, train, tmp_path):
    wild = ("--learning-rate", "1e30", "--optimizer", "sgd", "--schedule", "constant")
    code, _, error = train(tiny_folder, *wild)
    assert code == 66
    assert ".jpg" in one_line(error)
    assert "--learning-rate" in error
    assert not (tmp_path / "runs/tiny0/model.safetensors").exists()
