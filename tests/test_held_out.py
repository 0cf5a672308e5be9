"""A model is judged by what it was not trained on, wherever the images lie and whatever they are
called."""

import csv
import itertools
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from polyak import cli, load
from polyak.errors import DataError, UsageError
from polyak.jobs.plan import plan
from polyak.recipe import make
from typed import FAST, image, one_line

SEEDS = {"a": "0", "b": "1"}


@pytest.fixture(scope="module")
def runs(tiny_folder, tmp_path_factory) -> Path:
    """Runs on the small images: `a` and `b` on splits of their own, and some that came from `a`."""
    folder = tmp_path_factory.mktemp("held_out")
    more = {name: ("--seed", seed) for name, seed in SEEDS.items()}
    more["tuned"] = ("--seed", "1", "--weights", str(folder / "a"), "--transfer", "none")
    more["taught"] = ("--seed", "1", "--distill", str(folder / "a"))
    more["many"] = ("--ensemble", "independent:2")
    for name, choices in more.items():
        typed = ["train", str(tiny_folder), *FAST, *choices, "--out", str(folder), "--name", name]
        typed = [word for word in typed if name != "tuned" or word not in ("--widths", "8")]
        assert cli.main(typed) == 0
    return folder


def rows(run: Path) -> list[dict]:
    with (run / "split.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def of(run: Path, split: str) -> set[str]:
    return {row["path"] for row in rows(run) if row["split"] == split}


def said(capsys, *typed) -> dict:
    assert cli.main(["evaluate", *map(str, typed), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def without_digests(run: Path, to: Path) -> Path:
    """A run as an older polyak left it."""
    shutil.copytree(run, to)
    table = [[row[name] for name in ("path", "label", "split")] for row in rows(run)]
    with (to / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "split"], *table])
    return to


def test_the_folder_of_the_training_gives_the_figures_of_validation(runs, tiny_folder, capsys):
    """What the run wrote down about its own validation part, by another road."""
    records = [json.loads(line) for line in (runs / "a/metrics.jsonl").read_text().splitlines()]
    before = records[-1]["evaluation"]
    found = said(capsys, runs / "a", tiny_folder)
    assert found["n"] == before["n"] == 24
    assert found["accuracy"] == before["accuracy"]
    assert found["nll"]["value"] == pytest.approx(before["nll"]["value"], rel=1e-5)
    images = {"found": 96, "measured": 24, "trained_on": 72, "other_splits": 0, "unreadable": 0}
    images |= {"validation": 24, "training": 0, "unknown": ""}
    assert found["images"] == images
    assert "24 measured images of validation" in found["notes"][0]
    assert "optimistically biased" in found["notes"][0]
    assert cli.main(["evaluate", str(runs / "a"), str(tiny_folder)]) == 0
    text = capsys.readouterr().out
    assert "96 files found = 24 measured + 72 left out (the model was trained on them)" in text
    assert "24 measured images of validation" in text and "24 images" in text


def test_copies_under_other_names_are_known_and_new_images_are_measured(
    runs, tiny_folder, tmp_path, capsys
):
    for place, name in enumerate(sorted(of(runs / "a", "train"))):
        label = tmp_path / "moved" / name.split("/")[0]
        label.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_folder / name, label / f"copy {place}.jpg")
    image(1).save(tmp_path / "moved/square 1/new.png")
    (tmp_path / "moved/square 2/broken.jpg").write_text("no image")
    found = said(capsys, runs / "a", tmp_path / "moved")
    assert found["images"]["found"] == 74 and found["n"] == 1
    assert found["images"]["trained_on"] == 72 and found["images"]["unreadable"] == 1
    assert found["images"]["validation"] == 0 and not found["images"]["unknown"]


def test_nothing_left_is_told_in_one_line(runs, tiny_folder, tmp_path, capsys):
    table = tmp_path / "train.csv"
    kept = [f"{name},{name.split('/')[0]}" for name in sorted(of(runs / "a", "train"))]
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    table.write_text("\n".join(["path,label", *kept]) + "\n")
    assert cli.main(["evaluate", str(runs / "a"), str(table)]) == 65
    line = one_line(capsys.readouterr().err.strip())
    assert "trained on all 72 images" in line and "--split train" in line
    with pytest.raises(DataError, match="all 72"):
        load(runs / "a").evaluate(str(table))


@pytest.mark.parametrize(
    ("split", "n", "note"), [("train", 72, "remembers"), ("val", 24, "biased")]
)
def test_splits_that_the_run_made_can_be_asked_for(runs, tiny_folder, capsys, split, n, note):
    found = said(capsys, runs / "a", tiny_folder, "--split", split)
    assert found["n"] == n and note in found["notes"][0]
    assert found["images"]["other_splits"] == 96 - n and found["images"]["trained_on"] == 0
    with pytest.raises(UsageError, match="has train, val"):
        load(runs / "a").evaluate(str(tiny_folder), "test")


def test_a_file_in_its_run_is_the_run_and_elsewhere_says_that_it_does_not_know(
    runs, tiny_folder, tmp_path, capsys
):
    assert said(capsys, runs / "a/model.safetensors", tiny_folder)["n"] == 24
    shutil.copy(runs / "a/model.safetensors", tmp_path)
    found = said(capsys, tmp_path / "model.safetensors", tiny_folder)
    assert found["n"] == 96 and "outside of its run" in found["images"]["unknown"]
    assert [note for note in found["notes"] if "not all images" in note]
    (tmp_path / "split.csv").write_text("path,split,digest\nx,train,12\n")
    found = said(capsys, tmp_path / "model.safetensors", tiny_folder)
    assert found["n"] == 96 and "cannot be read" in found["images"]["unknown"]
    made = load(runs / "a")
    made.files = ()
    assert "not loaded" in made.evaluate(str(tiny_folder)).images.unknown


def test_what_was_asked_of_test_stays_of_test(runs, tiny_folder, tmp_path, capsys):
    """Data with parts of its own: `test` alone, without what has slipped into it from training."""
    trained = sorted(of(runs / "a", "train"))
    for split, names in {"train": trained[:40], "test": trained[40:44]}.items():
        for name in names:
            (tmp_path / split / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tiny_folder / name, tmp_path / split / name)
    for label in range(4):
        folder = f"square {label}"
        for split in ("train", "test"):
            (tmp_path / split / folder).mkdir(parents=True, exist_ok=True)
            image(label + 9 * (split == "test")).save(tmp_path / split / folder / "new.png")
    found = said(capsys, runs / "a", tmp_path)
    assert found["n"] == 4 and found["images"]["validation"] == found["images"]["training"] == 0
    assert not [note for note in found["notes"] if "biased" in note or "trained" in note]
    assert found["images"]["trained_on"] == 4 and found["images"]["other_splits"] == 44
    assert said(capsys, runs / "a", tmp_path, "--split", "test")["images"] == found["images"]
    found = said(capsys, runs / "a", tmp_path, "--split", "train")
    assert found["n"] == 48 and found["images"]["training"] == 44


def test_a_run_of_before_digests_is_known_by_its_data_unchanged(
    runs, tiny_folder, tmp_path, capsys
):
    old = without_digests(runs / "a", tmp_path / "old")
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    image(2).save(copy / "square 1/new.png")
    shutil.copy(tiny_folder / sorted(of(old, "train"))[0], copy / "square 2/again.jpg")
    assert said(capsys, old, tiny_folder)["n"] == 24
    found = said(capsys, old, copy)
    assert found["n"] == 25 and found["images"]["trained_on"] == 73
    image(3).save(copy / "square 1/1.jpg")
    found = said(capsys, old, copy)
    assert found["n"] == 98 and "without digests" in found["images"]["unknown"]
    many = without_digests(runs / "many", tmp_path / "old many")
    assert said(capsys, many, tiny_folder)["n"] == 24


def test_members_see_what_their_run_split(runs, tiny_folder, capsys):
    assert said(capsys, runs / "many", tiny_folder)["n"] == 24
    assert said(capsys, runs / "many/members/1", tiny_folder)["n"] == 24


def test_joined_models_leave_out_what_any_was_trained_on(runs, tiny_folder, tmp_path, capsys):
    for name in ("a", "b"):
        shutil.copytree(runs / name, tmp_path / "runs" / name)
    left = of(runs / "a", "val") & of(runs / "b", "val")
    assert 0 < len(left) < 24
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        typed = ["ensemble", "runs/a", "runs/b", "--out", "joined.safetensors"]
        assert cli.main([*typed, "--data", str(tiny_folder), "--fit"]) == 0
        text = capsys.readouterr().out
        assert f"96 files found = {len(left)} measured + {96 - len(left)} left out" in text
    finally:
        os.chdir(here)  # the names are found from where the file lies
    joined = tmp_path / "joined.safetensors"
    found = said(capsys, joined, tiny_folder)
    assert found["n"] == found["images"]["validation"] == len(left)
    shutil.rmtree(tmp_path / "runs/b")
    found = said(capsys, joined, tiny_folder)
    assert "runs/b is not there any more" in found["images"]["unknown"]
    assert found["n"] == 24


def test_images_that_joined_models_were_chosen_by_are_known(runs, tmp_path, capsys):
    for label in range(4):
        (tmp_path / f"new/square {label}").mkdir(parents=True)
        for number in range(2):
            image(10 * label + number).save(tmp_path / f"new/square {label}/{number}.png")
    joined = tmp_path / "joined.safetensors"
    typed = ["ensemble", str(runs / "a"), str(runs / "b"), "--data", str(tmp_path / "new")]
    assert cli.main([*typed, "--out", str(joined)]) == 0
    capsys.readouterr()
    assert said(capsys, joined, tmp_path / "new")["images"]["validation"] == 0
    assert cli.main([*typed, "--out", str(joined), "--fit"]) == 0
    capsys.readouterr()
    image(99).save(tmp_path / "new/square 0/9.png")
    found = said(capsys, joined, tmp_path / "new")
    assert found["n"] == 9 and found["images"]["validation"] == 8


@pytest.mark.parametrize("name", ["tuned", "taught"])
def test_a_run_says_which_of_its_held_out_images_another_was_trained_on(runs, name):
    seen = of(runs / "a", "train") & of(runs / name, "val")
    line = f"was trained on {len(seen)} of the 24 images of val: figures of these are too good"
    assert line in (runs / name / "log.txt").read_text()
    assert "too good" not in (runs / "b" / "log.txt").read_text()


def test_a_plan_from_another_run_says_so_before_it_measures(runs, tiny_folder):
    recipe = make(data=str(tiny_folder), weights=str(runs / "a"), seed=1, val=0.25, threads=1)
    events = plan(recipe, time.monotonic())
    notes = itertools.takewhile(lambda event: event.kind == "note", events)
    lines = " ".join(event.line for event in notes)
    events.close()
    seen = of(runs / "a", "train") & of(runs / "b", "val")  # the same seed, the same split
    assert f"was trained on {len(seen)} of the 24 images of val" in lines


@pytest.mark.parametrize("name", ["tuned", "taught"])
def test_what_another_run_saw_before_counts(runs, tiny_folder, tmp_path, capsys, name):
    """A run that goes on from another, or learns from one, of another split."""
    left = of(runs / "a", "val") & of(runs / name, "val")
    assert said(capsys, runs / name, tiny_folder)["n"] == len(left) < 24
    alone = shutil.copytree(runs / name, tmp_path / "alone")
    page = (alone / "config.yaml").read_text().replace(str(runs / "a"), "runs/gone")
    (alone / "config.yaml").write_text(page)
    found = said(capsys, alone, tiny_folder)
    assert found["n"] == 24 and "runs/gone is not there" in found["images"]["unknown"]


def test_a_split_that_is_read_back_tells_every_image(runs, tiny_folder):
    table = rows(runs / "a")
    assert list(table[0]) == ["path", "label", "split", "digest"]
    assert {len(row["digest"]) for row in table} == {32}
    assert len({row["digest"] for row in table}) == 96
    import hashlib

    for row in table[:5]:
        content = (tiny_folder / row["path"]).read_bytes()
        assert row["digest"] == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_digests_that_end_in_zeros_stay_apart():
    from polyak.model.known_splits import KnownSplits, as_bytes

    digests = np.array([[1, 0], [1 << 8, 0], [0, 1]], np.uint64)
    names = as_bytes(digests)
    order = np.argsort(names)
    known = KnownSplits(names[order], np.array([0, 1, 2])[order])
    assert known.of(digests[::-1]).tolist() == ["test", "val", "train"]
    assert known.of(np.array([[2, 0]], np.uint64)).tolist() == [""]


HEX = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "content",
    [b"", b"path,split\n", b"path,split,digest\na,train,zz\n", b"path,split,digest\na\n",
     f"path,split,digest\na,trained,{HEX}\n".encode(),
     f"path,split,digest\na,train,{HEX}{HEX}\nb,train,\nc,val,{HEX}\n".encode(),
     f"path,split,digest\n{'a' * 200_000},train,{HEX}\n".encode(),
     bytes(range(256))],
)  # fmt: skip
def test_a_damaged_split_is_not_known_and_no_mistake(runs, tiny_folder, tmp_path, capsys, content):
    run = shutil.copytree(runs / "a", tmp_path / "run")
    (run / "split.csv").write_bytes(content)
    found = said(capsys, run, tiny_folder)
    assert found["n"] == 96 and str(run / "split.csv") in found["images"]["unknown"]


@pytest.mark.parametrize("name", ["x" * 5000, "\\0", "/dev/zero", "/dev", "..", "\u202e"])
@pytest.mark.parametrize("choice", ["weights", "distill"])
def test_a_hostile_name_of_a_source_is_only_looked_for(
    runs, tiny_folder, tmp_path, capsys, name, choice
):
    run = shutil.copytree(runs / "a", tmp_path / "run")
    page = json.dumps({choice: name.replace("\\0", "\0"), "model": "compact"})
    (run / "config.yaml").write_text(page)
    found = said(capsys, run, tiny_folder)
    assert found["n"] == 24 and "not there" in found["images"]["unknown"]
    assert "\u202e" not in found["images"]["unknown"]


def test_uneven_classes_are_told_before_after_and_by_evaluate(tiny_folder, tmp_path, capsys):
    """60 to 8 to 8: a network that always gives one answer has the majority's accuracy."""
    for label, n in ((0, 24), (1, 4), (2, 4)):
        folder = tmp_path / f"data/square {label}"
        folder.mkdir(parents=True)
        for number in range(n):
            shutil.copy(tiny_folder / folder.name / f"{number}.jpg", folder)
    slow = ("--learning-rate", "1e-6", "--out", str(tmp_path), "--name", "run")
    assert cli.main(["train", str(tmp_path / "data"), *FAST, *slow]) == 0
    text = capsys.readouterr().out
    assert "uneven classes: 18 images of square 0, 3 of square 1 to train on" in text
    assert "note: always answering square 0 would be right on 75.0 %" in text
    assert "always answering" in (tmp_path / "run/report.html").read_text()
    assert "always answering" in (tmp_path / "run/log.txt").read_text()
    notes = said(capsys, tmp_path / "run", tmp_path / "data")["notes"]
    assert any(note.startswith("always answering square 0") for note in notes)
    assert cli.main(["doctor", str(tmp_path / "data")]) == 0
    assert "uneven classes: 24 images of square 0, 4 of square 1" in capsys.readouterr().out
    assert cli.main(["doctor", str(tiny_folder)]) == 0
    assert "uneven" not in capsys.readouterr().out
