"""The page of a run: complete, self-contained, and deaf to what names try to say."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import needs_browser, opened
from jobs import train
from polyak import cli
from polyak.errors import RefusedError, UsageError
from polyak.recipe import make
from polyak.report import compare, report
from polyak.report import page as pages
from polyak.report.findings import findings
from polyak.report.gather import gather
from polyak.report.translations import KOREAN, speaker
from written import INJECTIONS, run_directory, shape

HOME = Path(pages.__file__).parent


def test_names_make_no_elements(tmp_path):
    assert len(INJECTIONS) == 30
    plain = [f"class {i:02d}" for i in range(30)]
    pages_of = [report(run_directory(tmp_path / name, names)) for name, names in (
        ("plain", plain), ("hostile", INJECTIONS))]  # fmt: skip
    assert shape(pages_of[0]) == shape(pages_of[1])
    text = pages_of[1].read_text(encoding="utf-8")
    assert "<script" not in text
    assert "\x1b" not in text
    assert "default-src 'none'" in text


def test_the_page_of_a_real_run_tells_its_figures(tiny_folder, tmp_path):
    recipe = make(
        data=str(tiny_folder), model="compact", widths=(8, 8), epochs=4, batch_size=16, size=16,
        threads=1, val=0.25, out=str(tmp_path), name="run", schedule="sgdr", cycles=2,
        ensemble="snapshots",
    )  # fmt: skip
    *_, end = train(recipe)
    text = (tmp_path / "run/report.html").read_text()
    said = end["evaluation"]["accuracy"]
    for part in ("value", "low", "high"):
        assert f"{100 * said[part]:.2f} %" in text
    for row in end["table"]:
        assert f">{row['name']}" in text
    assert text.count("data:image/jpeg") >= 2 * 8  # before and after, of eight images
    assert text.count("stroke-dasharray") == 3 * 2  # two snapshots, on each of three charts
    assert "polyak train" in text
    assert str(end["images_per_second"]) in text
    spent = end["spent"]
    assert 0 < spent["compute"] < end["seconds"]
    assert min(spent["wait"], spent["decode"]) >= 0  # kept images cost nothing
    assert spent["render"] > 0
    for kind in ("wait", "compute"):
        assert f"{spent[kind]:.1f} seconds" in text


def test_a_page_that_cannot_be_drawn_costs_no_run(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("polyak.jobs.record.report", lambda path: 1 / 0)
    recipe = make(
        data=str(tiny_folder), model="compact", widths=(8, 8), epochs=1, batch_size=16, size=16,
        threads=1, out=str(tmp_path), name="run",
    )  # fmt: skip
    *_, end = train(recipe)
    assert end["kind"] == "end"
    assert "ZeroDivisionError" in (tmp_path / "run/log.txt").read_text()
    assert not (tmp_path / "run/report.html").exists()


def test_findings_are_those_of_scikit_learn(tmp_path):
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    facts = gather(run_directory(tmp_path / "run", ["a", "b", "c"]))
    found, said = findings(facts), facts.answers["val"]
    assert found is not None
    guesses = said.probabilities.argmax(1)
    assert np.array_equal(found.matrix, confusion_matrix(said.labels, guesses))
    precision, recall, _, support = precision_recall_fscore_support(said.labels, guesses)
    assert np.allclose(found.classes.precision, precision)
    assert np.allclose(found.classes.recall, recall)
    assert np.array_equal(found.classes.support, support)
    sure = [mistake.probability for mistake in found.surest]
    assert sure == sorted(sure, reverse=True)
    assert len(sure) == min(18, (guesses != said.labels).sum())


def test_labels_worth_checking_stand_beside_the_accuracy(tmp_path):
    folder = run_directory(tmp_path / "run", ["a", "b", "c"])
    found = findings(gather(folder))
    assert found is not None and found.suspects
    text = report(folder).read_text(encoding="utf-8")
    assert "Probably wrong" not in text
    told = text[text.index("Labels worth checking") :].split("<ul")[0]
    accuracy = found.figures.accuracy
    assert f"right on {100 * accuracy.value:.2f} % of these 90 held-out images" in told
    assert f"{100 * accuracy.low:.2f} % to {100 * accuracy.high:.2f} %" in told
    korean = report(folder, language="ko").read_text(encoding="utf-8")
    assert f"이미지 90장 가운데 {100 * accuracy.value:.2f} %에서" in korean


@pytest.mark.parametrize("cautions", [["always <b>x"], "one", 3, None, [{"a": 1}]])
def test_cautions_are_shown_and_take_no_markup(tmp_path, cautions):
    folder = run_directory(tmp_path / "run", ["a", "b", "c"])
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    end = json.dumps(json.loads(lines[-1]) | {"cautions": cautions})
    (folder / "metrics.jsonl").write_text("\n".join([*lines[:-1], end]) + "\n")
    text = report(folder).read_text(encoding="utf-8")
    assert "<b>x" not in text and (cautions == ["always <b>x"]) == ("always &lt;b&gt;x" in text)


def test_before_the_temperature_is_before_it(tmp_path):
    facts = gather(run_directory(tmp_path / "run", ["a", "b", "c"]))
    found = findings(facts)
    assert found is not None
    # the run's temperature was 2: without it, odds are squared, and the model is surer
    p = facts.answers["val"].probabilities.astype(float)
    squared = p**2 / (p**2).sum(1, keepdims=True)
    mean = (found.before.confidence * found.before.images).sum() / found.before.images.sum()
    assert mean == pytest.approx(squared.max(1).mean(), abs=1e-6)


def test_images_outside_the_data_are_not_opened(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "secret.jpg")
    names = ["a", "b", "c"]
    inside = run_directory(tmp_path / "in", names, str(data), path="secret.jpg|{}")
    outside = run_directory(tmp_path / "out", names, str(data), path="../secret.jpg")
    Image.new("RGB", (8, 8)).save(data / "secret.jpg")
    for folder in (inside, outside):
        assert "data:image" not in report(folder).read_text()
    there = run_directory(tmp_path / "there", names, str(data), path="secret.jpg")
    assert "data:image/jpeg" in report(there).read_text()


def test_korean_says_everything(tmp_path):
    asked = {word for page in HOME.glob("templates/*.html")
             for word in re.findall(r"""\bt\(["'](.+?)["']\)""", page.read_text())}  # fmt: skip
    asked |= set(re.findall(r'words\("(.+?)"\)', (HOME / "charts.py").read_text()))
    computed = {"loss", "accuracy", "learning rate", "before", "after", "train", "val", "test",
                "oof", "balanced accuracy", "ensemble", "soup", "refit"}  # fmt: skip
    assert asked - KOREAN.keys() == set()
    assert KOREAN.keys() - asked - computed == set()
    page = report(run_directory(tmp_path / "run", ["a", "b", "c"]), "ko").read_text()
    assert '<html lang="ko">' in page
    assert "정확도" in page
    assert "calibration error" not in page
    with pytest.raises(UsageError, match="choose from en, ko"):
        speaker("fr")


def test_runs_are_compared(tmp_path):
    folders = [run_directory(tmp_path / name, ["a", "b", "c"]) for name in ("one", "two")]
    config = json.loads((folders[1] / "config.yaml").read_text()) | {"seed": 7, "augment": "<b>"}
    (folders[1] / "config.yaml").write_text(json.dumps(config))
    text = compare(list(folders), tmp_path / "both.html").read_text()
    assert "no difference that the intervals support" in text
    assert ">seed<" in text
    assert ">model<" not in text
    assert "&lt;b&gt;" in text


def test_the_time_adds_up(tmp_path):
    text = report(run_directory(tmp_path / "run", ["a", "b", "c"])).read_text()
    shares = [float(share) for share in re.findall(r"<i style=\"width:([\d.]+)%", text)]
    assert shares == pytest.approx([100 * 1.5 / 9, 100 * 6 / 9, 100 * 1.5 / 9])
    assert "decoding 4.2 seconds, rendering 3.8 seconds; 20.0 images a second" in text


@pytest.mark.parametrize("classes", [100, 1000])
def test_many_classes_stay_under_three_megabytes(tmp_path, classes):
    names = [f"a class of birds number {i}" for i in range(classes)]
    page = report(run_directory(tmp_path / "run", names, n=5 * classes))
    assert page.stat().st_size < 3e6
    text = page.read_text()
    assert 'class="matrix"' not in text  # nobody reads a million cells: the worst pairs
    found = findings(gather(tmp_path / "run"))
    assert found is not None and len(found.pairs) == 20
    assert text.count(f">{found.pairs[0].truth}<") >= 2
    recalls = [recall for _, recall, _, _ in pages._classes(found, names)]
    assert recalls == sorted(recalls) and len(recalls) == classes
    for name in names:
        assert f">{name}<" in text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.json", "{"),
        ("classes.json", '["a"]'),
        ("env.json", "[]"),
        ("config.yaml", "- x"),
        ("predictions/val.safetensors", "no tensors"),
        ("split.csv", "path\nx"),
        ("split.csv", f"path,label,split\n{'x' * 200_000},a,train"),
        ("quarantine.csv", f"path,reason\nx.jpg,{'y' * 200_000}"),
    ],
    ids=lambda text: text[:20],
)
def test_damage_is_refused_in_one_line(tmp_path, capsys, file, text):
    folder = run_directory(tmp_path / "run", ["a", "b", "c"])
    (folder / file).write_text(text)
    assert cli.main(["report", str(folder)]) in (64, 76)
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RefusedError, match="no such directory"):
        report(tmp_path / "nothing")
    with pytest.raises(RefusedError, match=r"no config\.yaml"):
        report(tmp_path)
    assert cli.main(["report", str(tmp_path)]) == 76
    assert cli.main(["report"]) == 64


@needs_browser
@pytest.mark.parametrize(("width", "theme"), [(1200, "light"), (390, "dark")])
def test_the_page_is_quiet_and_fits(tmp_path, width, theme):
    page = report(run_directory(tmp_path / "run", INJECTIONS), "ko")
    with opened(tmp_path / "profile") as browser:
        browser.open(page, width=width, theme=theme)
        assert browser.run("return document.querySelectorAll('svg').length") == 2
        wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, "the page itself must not scroll sideways"
        light = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert (light == "rgb(255, 255, 255)") == (theme == "light")
        assert browser.console() == []
        assert browser.requests() == [page.resolve().as_uri()]


@needs_browser
def test_korean_letters_are_letters(tmp_path):
    if not subprocess.run(["fc-list", ":lang=ko"], capture_output=True, check=True).stdout:
        pytest.skip("no font with Korean letters: apt-get install fonts-noto-cjk")
    page = report(run_directory(tmp_path / "run", ["고양이", "개", "곰"]), "ko")
    with opened(tmp_path / "profile") as browser:
        browser.open(page)
        drawn = browser.run("""
            const paper = Object.assign(document.createElement("canvas"), {width: 50, height: 50});
            const pen = paper.getContext("2d", {willReadFrequently: true});
            return ["h1", "svg text"].map(where => {
              pen.font = "32px " + getComputedStyle(document.querySelector(where)).fontFamily;
              return [..."정확도"].map(letter => {
                pen.clearRect(0, 0, 50, 50);
                pen.fillText(letter, 5, 40);
                return pen.getImageData(0, 0, 50, 50).data.join();
              });
            });
        """)
    for letters in drawn:  # boxes for what no font has would all be alike
        assert len(set(letters)) == 3
