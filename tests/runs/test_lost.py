"""Images that vanish or change while a run goes on: named, left out, and counted to the end."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from jobs import run, train
from polyak.data import Images, find, scan
from polyak.jobs import open as opening
from polyak.networks import build
from polyak.rundir.journal import read_event
from polyak.rundir.log_lines import lines
from polyak.training.distributed import Process

NAME = "mobilenetv3_small_050"
GONE, CHANGED = "No such file or directory", "the file has changed since the scan: another content"
UNKEPT = 1e-9  # GiB: every image is read again whenever it is needed


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """Train, val and test of two classes."""
    for part, numbers in (("train", range(14)), ("val", range(14, 19)), ("test", range(19, 24))):
        for label in (0, 1):
            there = tmp_path / "data" / part / f"square {label}"
            there.mkdir(parents=True)
            for number in numbers:
                shutil.copy(tiny_folder / f"square {label}" / f"{number}.jpg", there)
    return tmp_path / "data"


def spoil(folder) -> dict[str, str]:
    """Take an image away from each part, and put another one of the same size in the place of one:
    path -> reason.
    """
    gone = ["train/square 0/1.jpg", "val/square 0/15.jpg", "test/square 1/20.jpg"]
    for path in gone:
        (folder / path).unlink()
    changed = "test/square 0/22.jpg"
    pixels = np.random.default_rng(9).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / changed, quality=90)
    return {**dict.fromkeys(gone, GONE), changed: CHANGED}


def check(end, path, lost, found=48):
    """Everything that the run leaves says the same of the lost images."""
    used = found - len(lost)
    assert (end["found"], end["left_out"]) == (found, len(lost))
    line = f"{found} files found = {used} used + {len(lost)} left out (quarantine.csv)"
    assert line in lines(read_event(end))
    assert line in (path / "log.txt").read_text()
    rows = csv.DictReader((path / "quarantine.csv").read_text().splitlines())
    assert {row["path"]: row["reason"] for row in rows} == lost
    with safe_open(path / "model.safetensors", "np") as file:
        data = json.loads(file.metadata()["polyak"])["data"]
    assert data["train"] + data["val"] + data["test"] == used
    assert data["left_out"] == len(lost)
    for split in ("val", "test"):
        said = csv.DictReader((path / f"predictions/{split}.csv").read_text().splitlines())
        assert len(list(said)) == data[split]


def test_counts_add_up_at_the_end(job, folder, tmp_path):
    records, lost = train(job(data=str(folder), memory=UNKEPT)), {}
    for record in records:
        if record["kind"] == "start":
            lost = spoil(folder)
    check(record, tmp_path / "runs/job", lost)


def test_nothing_lost_is_counted_too(job, folder, tmp_path):
    end = run(job(data=str(folder)))
    assert (end["found"], end["left_out"]) == (48, 0)
    assert "48 files found = 48 used + 0 left out" in lines(read_event(end))


@pytest.fixture
def spoiled(folder, monkeypatch):
    """Images are lost as soon as the data is open."""
    lost, opens = {}, opening.open_data

    def open_data(*given):
        found = opens(*given)
        if not lost:
            lost.update(spoil(folder))
        return found

    monkeypatch.setattr("polyak.jobs.open.open_data", open_data)
    return lost


@pytest.mark.parametrize("transfer", ["linear", "few"])
def test_runs_from_weights_count_them(job, folder, spoiled, tmp_path, monkeypatch, transfer):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    save_file(build(NAME, 7).state_dict(), tmp_path / f"{NAME}.safetensors")
    weights = str(tmp_path / f"{NAME}.safetensors")
    choices = {"model": "auto", "widths": None, "epochs": 1 if transfer == "few" else None}
    recipe = job(data=str(folder), weights=weights, size=32, transfer=transfer, **choices)
    records = list(train(recipe))
    check(records[-1], tmp_path / "runs/job", spoiled)


def test_independent_members_count_them(job, folder, tmp_path, monkeypatch):
    lost, opens, calls = {}, opening.open_data, []

    def open_data(*given):
        found = opens(*given)
        calls.append(1)
        if len(calls) == 3:  # two members have trained, and are joined
            lost.update(spoil(folder))
        return found

    monkeypatch.setattr("polyak.jobs.open.open_data", open_data)
    monkeypatch.setattr("polyak.jobs.within.open_data", open_data)
    end = run(job(data=str(folder), memory=UNKEPT, ensemble="independent:2", epochs=1))
    held_out = {path: why for path, why in lost.items() if not path.startswith("train")}
    assert len(held_out) == 3
    assert (end["found"], end["left_out"]) == (48, len(lost))
    listed = (tmp_path / "runs/job/quarantine.csv").read_text()
    assert all(path in listed for path in held_out)


def test_an_image_that_was_away_is_used_when_it_is_back(job, folder, tmp_path, monkeypatch):
    """Remembered features do not remember that it was away."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    weights = tmp_path / f"{NAME}.safetensors"
    save_file(build(NAME, 7).state_dict(), weights)
    opens = opening.open_data
    path, aside = folder / "train/square 0/1.jpg", tmp_path / "aside.jpg"

    def open_data(*given):
        found = opens(*given)
        path.rename(aside)
        return found

    choices = {"model": "auto", "widths": None, "epochs": None, "transfer": "linear", "size": 32}
    recipe = job(data=str(folder), weights=str(weights), **choices)
    monkeypatch.setattr("polyak.jobs.open.open_data", open_data)
    assert run(recipe)["left_out"] == 1
    aside.rename(path)
    monkeypatch.setattr("polyak.jobs.open.open_data", opens)
    assert run(recipe.model_copy(update={"name": "again"}))["left_out"] == 0


def test_what_is_taken_of_images_tells_the_whole_what_was_lost(folder):
    data = scan(find(folder))
    images = Images.open(data, budget=0)
    lost = spoil(folder)
    for position in range(len(data)):
        try:
            images.take(np.arange(len(data)))[position]
        except Exception as error:
            assert data.paths[position] in lost, error
    assert images.lost == lost
    left = data.set_aside(images.lost)
    assert (len(left), left.found) == (len(data) - 4, len(data))


def test_one_process_alone_knows_its_own():
    assert Process().joined({"a.jpg": "gone"}) == {"a.jpg": "gone"}
