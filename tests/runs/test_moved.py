"""A run whose data has moved goes on with it, if it is the same; and with no other."""

import json
import shutil

import pytest
import yaml
from PIL import Image

from jobs import results, run, steps
from polyak.errors import DataError, UsageError
from polyak.recipe import make


@pytest.fixture
def folder(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "old")
    return tmp_path / "old"


def moved(folder):
    return folder.rename(folder.with_name("a new place: 고양이"))


@pytest.mark.parametrize("more", [{}, {"ensemble": "independent:2", "epochs": 2}])
def test_it_ends_in_the_same_bytes(job, folder, tmp_path, more):
    run(job(data=str(folder), name="whole", **more))
    steps(job(data=str(folder), **more), 8)  # of independent members, 2 in the second
    there = moved(folder)
    run(job(data=str(there), **more), resume=True)
    assert results(tmp_path / "runs/job") == results(tmp_path / "runs/whole")


def test_it_remembers_the_new_place(job, folder, tmp_path):
    steps(job(data=str(folder)), 3)
    path = tmp_path / "runs/job"
    before = (path / "config.yaml").read_text().splitlines()
    there = moved(folder)
    steps(job(data=str(there)), 3, resume=True)
    page = (path / "config.yaml").read_text()
    assert yaml.safe_load(page)["data"] == str(there)
    assert json.loads((path / "env.json").read_text())["asked"]["data"] == str(there)
    assert page.splitlines()[1:] == before[1:]  # and every reason
    end = run(make(out=str(tmp_path / "runs")), resume=True)  # nothing else to say
    assert end["found"] == 96


@pytest.mark.parametrize("more", [{}, {"ensemble": "independent:2", "epochs": 2}])
def test_other_data_is_refused_and_nothing_lost(job, folder, tmp_path, more):
    recipe = job(data=str(folder), **more)
    steps(recipe, 8)
    path = tmp_path / "runs/job"
    kept = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    Image.new("RGB", (32, 32)).save(other / "square 1" / "7.jpg")
    with pytest.raises(DataError, match="the data has changed since this run began"):
        run(job(data=str(other), **more), resume=True)
    changed = [f.name for f, text in kept.items() if f.read_bytes() != text]
    assert set(changed) <= {"run.lock"}
    run(recipe, resume=True)


def test_members_that_are_finished_are_joined_on_the_same_data_only(job, folder, tmp_path):
    more = {"ensemble": "independent:2", "epochs": 1}
    run(job(data=str(folder), **more))
    path = tmp_path / "runs/job"
    for name in ("metrics.jsonl", "model.safetensors"):
        (path / name).unlink()
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "square 1" / "7.jpg").unlink()
    with pytest.raises(DataError, match="the data has changed since this run began"):
        run(job(data=str(other), **more), resume=True)
    assert run(job(data=str(moved(folder)), **more), resume=True)["found"] == 96


def test_what_else_was_chosen_must_be_the_same(job, folder):
    steps(job(data=str(folder)), 3)
    there = moved(folder)
    with pytest.raises(UsageError, match=r"started with other choices.*epochs: 4"):
        run(job(data=str(there), epochs=5), resume=True)


def test_a_finished_run_is_of_its_own_data(job, folder, tmp_path):
    run(job(data=str(folder)))
    with pytest.raises(UsageError, match=r"started with other choices.*data: "):
        run(job(data=str(tmp_path)), resume=True)


def test_unnamed_it_is_another_run(job, folder, tmp_path):
    steps(job(data=str(folder)), 3)
    run(job(data=str(moved(folder)), name=None), resume=True)
    assert len(list((tmp_path / "runs").iterdir())) == 2
