"""The race on images: the same for all, the same every time, and nothing lost when it stops."""

import html
import json
import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image

from browser import needs_browser, opened, wait
from polyak import cli
from polyak.errors import DataError, DivergedError, UsageError
from polyak.race import Contest, Design, sheet
from polyak.race.course import Course

# the probe for bfloat16 starts a process of its own: seconds that nobody needs here
SMALL = {"widths": (8, 8), "size": 8, "threads": 1, "val": 0.2, "precision": "float32"}
ALONE = ("--threads", "1", "--precision", "float32")
HOSTILE = ("<img src=x onerror=alert(1)>", '"><b>bold', "\u202egnp", "{{ 7 * 7 }}")


@pytest.fixture(scope="session")
def contest(tiny_folder):
    """A small race on small images, but for what is said otherwise."""

    def made(data=tiny_folder, optimizers=("sgd", "momentum"), seeds=2, sweep=(1.0,), **how):
        how = {"steps": 6, **SMALL, **how}
        return Contest(str(data), optimizers, design=Design(seeds, sweep), **how)

    return made


def timeless(found):
    return {k: v for k, v in found.items() if k not in ("seconds", "machine")}


@pytest.fixture(scope="module")
def finished(contest):
    """A race that ran to its end, with its records."""
    race = contest(optimizers=("sgd", "momentum", "adam"), sweep=(0.1, 1.0, 10.0), steps=20)
    return race, [event.as_json() for event in race.events()]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Images in folders whose names want to be markup, and the page of a race on them."""
    data = tmp_path_factory.mktemp("<script>alert(1)<script>")
    for label, name in enumerate(HOSTILE):
        (data / name).mkdir()
        for number in range(10):
            noise = np.random.default_rng([label, number]).integers(0, 90, (8, 8, 3))
            Image.fromarray((noise + 40 * label).astype(np.uint8)).save(
                data / name / f"{number}.png"
            )
    out = data.parent / "out"
    choices = ["--optimizers", "sgd,momentum", "--steps", "4", "--seeds", "2", "--sweep", "1"]
    more = ["--size", "8", "--batch-size", "8", "--val", "0.2", *ALONE]
    assert cli.main(["race", str(data), *choices, *more, "--out", str(out)]) == 0
    return out


def test_images_that_are_lost_on_the_way_are_told(contest, tiny_folder, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_folder, data)
    race = contest(data=data, memory=1e-9)  # every image is read again whenever it is needed
    gone = None
    for event in race.events():
        if event.kind == "start":
            gone = race.course.data.parts["val"].dataset.paths[1]
            (data / gone).unlink()
    found = sheet.figures(race)
    assert found["lost"] == [[gone, "No such file or directory"]]
    assert any(line.startswith("1 images could not be read to the end") and gone in line
               for line in sheet.sentences(found))  # fmt: skip


# the same for all


def test_all_begin_with_the_same_weights_and_see_the_same_batches(contest):
    course = Course(contest().recipe)
    still = {}
    for name in ("sgd", "momentum", "adam"):
        running = course.run(name, 1e-30, seed=3, steps=5, sweep=True)
        still[name] = finish(running).losses
    assert len(set(map(tuple, still.values()))) == 1
    assert len(set(still["sgd"])) == 5
    # and what one has learnt is not handed to the next
    learning = [finish(course.run("sgd", 0.5, seed=3, steps=5, sweep=True)) for _ in range(2)]
    assert learning[0].losses == learning[1].losses != still["sgd"]
    other = finish(course.run("sgd", 1e-30, seed=4, steps=5, sweep=True)).losses
    assert other != still["sgd"]


def finish(running):
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def test_the_recipe_differs_in_optimizer_and_rate_alone(contest):
    course = Course(contest().recipe)
    recipes = [course.session(name).resolved.model_dump() for name in ("sgd", "adam")]
    differing = {key for key in recipes[0] if recipes[0][key] != recipes[1][key]}
    assert differing == {"optimizer", "learning_rate"}


def test_every_one_has_as_many_tries_and_takes_the_best(finished):
    race, records = finished
    for name in ("sgd", "momentum", "adam"):
        rows = [r for r in records if r["kind"] == "sweep" and r["optimizer"] == name]
        assert len(rows) == 5
        best = min((r for r in rows if r["nll"] is not None), key=lambda r: r["nll"])
        assert race.rates[name] == best["learning_rate"]
    assert race.recipe.seed not in race.rounds()  # the sweep's seed runs in no race


def test_figures_are_those_of_the_runs(finished):
    race, records = finished
    found = sheet.figures(race)
    shares = {(r["optimizer"], r["seed"]): r["accuracy"] for r in records if r["kind"] == "run"}
    for result in found["results"]:
        mine = [shares[result["optimizer"], seed] for seed in found["seeds"]]
        assert result["accuracy"]["value"] == pytest.approx(np.mean(mine))
        assert [row[0] for row in result["loss"]] == list(range(1, 21))
        assert result["validation"][-1][0] == 20
        assert all(low <= mean <= high for _, mean, low, high in result["loss"])
    assert found["measured_on"] == {"split": "val", "n": 20}
    json.dumps(found, allow_nan=False)


# the same every time


def test_the_same_seeds_give_the_same_result_to_the_bit(contest):
    pages = []
    for _ in range(2):
        race = contest()
        list(race.events())
        pages.append(timeless(sheet.figures(race)))
    assert pages[0] == pages[1]
    race = contest(seed=7)
    list(race.events())
    assert timeless(sheet.figures(race))["results"] != pages[0]["results"]


def test_the_command_runs_to_its_end_quickly(tmp_path, capsys):
    choices = ["--optimizers", "sgd,nesterov", "--steps", "10", "--seeds", "2", "--sweep", "1"]
    began = time.process_time()
    assert cli.main(["race", "digits", *choices, *ALONE, "--out", str(tmp_path)]) == 0
    assert time.process_time() - began < 20
    said = capsys.readouterr().out
    assert "1797 files found = 1797 used + 0 left out" in said
    assert "nesterov" in said and "race.html" in said
    found = json.loads((tmp_path / "race.json").read_text())
    assert (found["version"], found["kind"], found["steps"]) == (1, "data", 10)
    assert found["verdict"]["text"] in html.unescape((tmp_path / "race.html").read_text())


# stopped, diverged, refused


def test_ctrl_c_keeps_whole_rounds(tiny_folder, tmp_path, monkeypatch, capsys):
    count, whole = [], Course.run

    def run(self, *how, **more):
        count.append(how)
        if len(count) == 6:  # two tries, two runs of the first seed, one of the second
            signal.raise_signal(signal.SIGINT)
        return whole(self, *how, **more)

    monkeypatch.setattr(Course, "run", run)
    choices = ["--optimizers", "sgd,momentum", "--steps", "4", "--seeds", "3", "--sweep", "1"]
    typed = ["race", str(tiny_folder), *choices, *ALONE, "--out", str(tmp_path)]
    assert cli.main(typed) == 130
    said = capsys.readouterr()
    assert said.err.startswith("polyak: stopped. Kept: ")
    found = json.loads((tmp_path / "race.json").read_text())
    assert (found["stopped"], found["seeds"]) == (True, [1])
    assert "One seed cannot tell" in found["verdict"]["text"]
    assert "Stopped before the end: 1 of 3 seeds" in (tmp_path / "race.html").read_text()


def test_stopped_in_the_sweep_there_is_still_a_page(contest, tmp_path):
    race = contest()
    for record in race.events():
        if record.kind == "step":
            signal.raise_signal(signal.SIGTERM)
    found = sheet.figures(race)
    sheet.write(found, tmp_path)
    assert (race.signal, found["results"], found["verdict"]) == (15, [], None)
    assert found["diverged"] == []  # nobody was tried yet
    assert (tmp_path / "race.html").exists()


def test_when_all_diverge_it_is_said(contest):
    race = contest(sweep=(1e30,))
    list(race.events())
    with pytest.raises(DivergedError, match="every optimizer diverged"):
        sheet.figures(race)


def test_a_run_that_diverges_in_the_race_counts_as_wrong(finished):
    course = finished[0].course
    found = finish(course.run("momentum", 1e30, seed=1, steps=10, sweep=False))
    assert found.diverged
    assert not found.right.any()
    assert len(found.right) == course.measured


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["digits", "--optimizers", "sgd,adm"], "did you mean adam?"),
        (["digits", "--optimizers", "sgd,sgd"], "name each optimizer once"),
        (["digits", "--optimizers", ""], "name each optimizer once"),
        (["digits", "--seeds", "1"], "two --seeds at least"),
        (["digits", "--steps", "0"], "above zero"),
        (["digits", "--sweep", "much"], "write --sweep 0.1,1,10"),
        (["digits", "--sweep", "1,-1"], "above zero"),
        (["digits", "--budget", "5m", "--steps", "9"], "one of them"),
        (["digits", "--budget", "soon"], "write 90s, 10m or 2h"),
        (["TINY", "--model", "resnet81", "--steps", "2"], "did you mean resnet18"),
        (["--steps", "9"], "needs DATA: --steps"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(typed, said, capsys, tmp_path, tiny_folder):
    typed = [str(tiny_folder) if word == "TINY" else word for word in typed]
    typed += ALONE if typed[0] != "--steps" else ()
    assert cli.main(["race", *typed, "--out", str(tmp_path)]) == 64
    line = capsys.readouterr().err.strip()
    assert line.startswith("polyak: ") and len(line.splitlines()) == 1
    assert said in line
    assert not list(tmp_path.iterdir())


def test_data_that_is_not_there_is_told(tmp_path, capsys):
    assert cli.main(["race", str(tmp_path / "none"), *ALONE, "--out", str(tmp_path)]) == 65
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


# the budget


@pytest.fixture
def speed(monkeypatch):
    """A machine of known speed: 10 ms a step, 0.1 ms an image looked at."""
    monkeypatch.setattr(Course, "seconds", lambda *how: (0.01, 0.0001))


def plan(contest, **how):
    race = contest(steps=None, sweep=(0.1, 1.0, 10.0), **how)
    records = race.events()
    start = next(records)
    records.close()
    return start.plan


def test_a_budget_is_split_between_sweep_and_race(contest, speed):
    found = plan(contest, budget="60s", optimizers=("sgd", "momentum", "adam"), seeds=5)
    work = 3 * (5 * found.sweep_steps + 5 * found.steps) * 0.01
    assert 35 < work < 60
    assert 0.25 < found.sweep_steps / (found.sweep_steps + found.steps) < 0.45


def test_nobody_runs_longer_than_train_would(contest, speed):
    found = plan(contest, budget="10h")
    # 76 images: batches of 8, and 40 epochs, the most that train decides on from scratch
    assert found.steps == 40 * (76 // 8)


def test_a_budget_that_is_too_short_names_one_that_is_not(contest, speed):
    with pytest.raises(UsageError, match=r"too short.*--budget \d+m"):
        plan(contest, budget="10s", seeds=50, optimizers=("sgd", "momentum", "adam"))


def test_nothing_held_out_is_refused(contest, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8, 3), ord(name), np.uint8)).save(tmp_path / name / "1.png")
    with pytest.raises(DataError, match="nothing is held out"):
        list(contest(str(tmp_path)).events())


# the page


def test_names_from_outside_are_escaped(hostile):
    text = (hostile / "race.html").read_text()
    assert "<img src=x" not in text
    assert "<script>alert" not in text
    assert "<b>bold" not in text
    assert "\u202e" not in text
    assert html.escape(HOSTILE[0], quote=False) in text.replace("&#34;", '"')
    assert "{{ 7 * 7 }}" in text
    assert json.loads((hostile / "race.json").read_text())["classes"] == sorted(HOSTILE)


@needs_browser
def test_a_race_stopped_in_its_sweep_shows_the_sweep(contest, tmp_path):
    race = contest(sweep=(1.0, 2.0))
    for record in race.events():
        if record.kind == "sweep":
            signal.raise_signal(signal.SIGTERM)
    sheet.write(sheet.figures(race), tmp_path)
    with opened(tmp_path / "profile") as browser:
        browser.open(tmp_path / "race.html")
        wait(browser, "return byId('sweep').data?.length === 2")
        assert browser.run("return byId('loss').parentElement.hidden")
        assert not browser.run("return !!document.querySelector('table')")
        assert browser.console() == []


@needs_browser
def test_the_page_opens_in_a_browser(hostile, tmp_path):
    with opened(tmp_path) as browser:
        browser.open(hostile / "race.html")
        wait(browser, "return document.querySelectorAll('.key').length === 2")
        wait(browser, "return byId('sweep').data?.length === 4")
        names = browser.run("return document.querySelector('header p').textContent")
        assert HOSTILE[0] in names
        browser.run("document.querySelector('.key').click()")
        wait(browser, "return byId('loss').data.length === 3")
        browser.run("document.querySelectorAll('details').forEach((d) => (d.open = true))")
        assert browser.console() == []
        asked = [one for one in browser.requests() if not one.startswith("data:")]
        assert asked == [(hostile / "race.html").resolve().as_uri()]
        browser.open(hostile / "race.html", width=390, height=844, theme="dark")
        wait(browser, "return document.querySelectorAll('.key').length === 2")
        assert browser.run("return document.documentElement.scrollWidth") == 390
