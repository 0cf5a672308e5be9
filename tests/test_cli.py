"""Whatever is typed, and what is done with a model: one line, a stable exit code."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import results
from polyak import __version__, cli
from polyak.verbs import VERBS
from typed import FAST, image, one_line


@pytest.fixture(scope="session")
def trained(tiny_folder, tmp_path_factory) -> Path:
    """A finished run on the small images that knows them well."""
    out = tmp_path_factory.mktemp("trained")
    choices = [
        *FAST,
        "--epochs",
        "16",
        "--learning-rate",
        "0.05",
        "--out",
        str(out),
        "--name",
        "run",
    ]
    assert cli.main(["train", str(tiny_folder), *choices]) == 0
    return out / "run"


# what is typed


def test_help_names_every_verb_and_needs_nothing(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    verbs = ("train", "evaluate", "predict", "export", "race", "doctor")
    assert all(f"polyak {verb}" in text for verb in verbs)


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize("verb", [*VERBS, "--completion"])
def test_help_shows_no_python_and_no_empty_default(verb, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        cli.main([verb, "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for wrong in ("None", "(default: )", "(default: '')", "}|", "|{", " STR"):
        assert wrong not in said


def test_help_of_training_says_what_each_option_takes(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for right in ("--learning-rate FLOAT|auto ", "--rho-range FLOAT FLOAT ", "--val FLOAT share",
                  "--freeze-norms {True,False} ", "(default: 0.1)", "(default: runs)"):  # fmt: skip
        assert right in said


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "export", "race", "doctor"])
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    assert f"polyak {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["trian"], "did you mean polyak train?"),
        (["train"], "nothing to train on"),
        (["train", "digits", "--epochs", "1", "--budget", "5m"], "not both"),
        (["train", "digits", "--epochs", "-1"], "greater than 0"),
        (["train", "digits", "--budget", "soon"], "write 90s, 10m or 2h"),
        (["train", "digits", "--model", "resnet81"], "did you mean resnet18"),
        (["train", "digits", "--augment", "liht"], "light"),
        (["train", "digits", "--weights", "nope.pth"], "nope.pth: there is no such file"),
        (["train", "digits", "--weights", "nope"], "nope: there is no such file"),
        (["plan", "digits", "--weights", "no/nope.safetensors"], "there is no such file"),
        (["train", "digits", "--weights", "label.txt"], "ends in neither .safetensors nor .pth"),
        (["train", "digits", "--weights", "mine.pth"], "name the network, as in --model resnet18"),
        (["train", "digits", "--views", "all"], "flip"),
        (["train", "digits", "--config", "no.yaml"], "cannot read: no.yaml"),
        (["train", "--resume", "--out", "nowhere"], "no unfinished run"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(typed, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("label.txt", "mine.pth"):
        Path(name).touch()
    assert cli.main(typed) == 64
    assert said in one_line(capsys.readouterr().err.strip())
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--versio", "did you mean polyak --version?"),
        ("tran digits", "did you mean polyak train?"),
        ("raport runs/a", "did you mean polyak report?"),
        ("train x --epoch 2", "did you mean --epochs?"),
        ("train digits --optimzer adam", "--optimzer. Next: did you mean --optimizer?"),
        ("train --learning_rat 1", "did you mean --learning-rate?"),
        ("train digits --augmnt.rotate=5", "did you mean --augment?"),
        ("train digits --augment.rotat 5", "did you mean --augment.rotate?"),
        ("train digits --lr 0.1", "did you mean --learning-rate?"),
        ("train digits --momentum 0.9", "did you mean --rho?"),
        ("train digits --bs 64", "did you mean --batch-size?"),
        ("train digits --wd=0.1", "did you mean --weight-decay?"),
        ("train digits --img_size 64", "did you mean --size?"),
        ("train digits --num-workers 4", "did you mean --threads?"),
        ("plan digits --arch resnet18", "did you mean --model?"),
        ("evaluate a b --lr 1", "--lr. Next: polyak evaluate --help"),
        ("train digits --frobnicate", "--frobnicate. Next: polyak train --help"),
        ("evaluate runs/a photos --spilt val", "did you mean --split?"),
        ("evaluate --devise cpu", "did you mean --device?"),
        ("predict runs/a x.png --tpo 3", "did you mean --top?"),
        ("plan photos --weigths w", "did you mean --weights?"),
        ("race --sed 1", "did you mean --seed"),
        ("race photos --optimizers sgd,adm", "did you mean adam?"),
        ("augment photos --polcy light", "did you mean --policy?"),
        ("report runs/a --langauge ko", "did you mean --language?"),
        ("ensemble runs/a --ou x", "did you mean --out?"),
        ("doctor photos --verbose", "polyak doctor --help"),
        ("--completion fish --quiet", "polyak --completion --help"),
        ("train digits --model restnet18", "did you mean resnet18"),
        ("race digits --model restnet18", "did you mean resnet18"),
        ("plan digits --model restnet18", "did you mean resnet18"),
        ("train x --seed one", "Write --seed INT"),
        ("train x --optimizer adm", "'adam'"),
        ("train x --mean 1 2", "mean"),
        ("train x --epochs", "--epochs"),
        ("train x y", "y"),
        ("evaluate runs/a", "DATA"),
        ("--completion csh", "zsh"),
    ],
)
def test_what_was_meant_is_told_in_one_line(typed, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(typed.split()) == 64
    line = one_line(capsys.readouterr().err.strip())
    assert said in line
    assert not set("│╭╰─") & set(line)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("!!python/object/apply:os.system ['touch pwned']", "not YAML"),
        ("a: &a [x]\nb: *a", "aliases"),
        ("- 1\n- 2", "expected lines"),
        ("epohcs: 3", "did you mean --epochs?"),
        ("lr: 0.1", "did you mean --learning-rate?"),
        ("epochs: .nan", "epochs"),
        ("epochs: [", "not YAML"),
    ],
)
def test_a_hostile_recipe_is_refused(page, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(page)
    assert cli.main(["train", "digits", "--config", "recipe.yaml"]) == 64
    assert said in one_line(capsys.readouterr().err.strip())
    assert not Path("pwned").exists()


def test_the_recipe_of_a_run_repeats_it(train, trained, tiny_folder, tmp_path):
    typed = ["train", str(tiny_folder), "--config", str(trained / "config.yaml")]
    assert cli.main([*typed, "--out", str(tmp_path), "--name", "again"]) == 0
    assert results(tmp_path / "again") == results(trained)


# what is done with the model


def test_evaluate_measures_what_training_did_not_see(trained, tiny_folder, capsys):
    assert cli.main(["evaluate", str(trained), str(tiny_folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"accuracy", "nll", "ece", "n", "images", "notes"}
    assert said["n"] == 24 and said["images"]["trained_on"] == 72
    assert said["accuracy"]["low"] <= said["accuracy"]["value"] <= said["accuracy"]["high"]
    assert said["accuracy"]["value"] > 0.9


def test_evaluate_aligns_classes_by_name(trained, tiny_folder, tmp_path, capsys):
    for name in ("square 3", "square 1"):
        shutil.copytree(tiny_folder / name, tmp_path / "some" / name)
    assert cli.main(["evaluate", str(trained), str(tmp_path / "some"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["value"] > 0.9
    (tmp_path / "some" / "square 1").rename(tmp_path / "some" / "edge")
    assert cli.main(["evaluate", str(trained), str(tmp_path / "some")]) == 65
    assert "edge" in one_line(capsys.readouterr().err.strip())


def test_predict_names_classes_and_what_it_could_not_read(trained, tiny_folder, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    typed = ["predict", str(trained), str(tiny_folder / "square 2"), str(bad), "--format", "json"]
    assert cli.main([*typed, "--top", "2"]) == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert len(rows) == 25
    best = [row["classes"][0]["class"] for row in rows[:24]]
    assert best.count("square 2") > 20
    assert rows[24]["classes"] == []
    assert rows[24]["error"] in said.err
    assert cli.main(["predict", str(trained), str(bad)]) == 65


def test_predict_follows_links_as_train_does(trained, tiny_folder, tmp_path, capsys):
    """40 images lay behind a link: they were passed by, with exit code 0."""
    (tmp_path / "holiday").mkdir()
    shutil.copy(tiny_folder / "square 0" / "0.jpg", tmp_path / "holiday" / "own.jpg")
    (tmp_path / "holiday" / "linked").symlink_to(tiny_folder / "square 2")
    (tmp_path / "holiday" / "twice").symlink_to(tiny_folder / "square 2")
    assert cli.main(["predict", str(trained), str(tmp_path / "holiday"), "--format", "json"]) == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert len(rows) == 25 and sum("/linked/" in row["path"] for row in rows) == 24
    assert "note: folder reached twice through a link, read once: twice" in said.err


def test_predict_writes_a_table(trained, tiny_folder, tmp_path, capsys):
    out = tmp_path / "said.csv"
    image = tiny_folder / "square 1" / "3.jpg"
    assert cli.main(["predict", str(trained), str(image), "--out", str(out)]) == 0
    header, row = out.read_text().splitlines()
    assert header == "path,class1,probability1,error"
    assert row.split(",")[1] == "square 1"
    assert cli.main(["predict", str(trained), str(image)]) == 0
    assert "square 1" in capsys.readouterr().out


class Pwn:
    def __reduce__(self):
        return (os.system, ("touch pwned",))


def test_no_model_but_ours_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image().save("a.png")
    Path("model.pth").write_bytes(pickle.dumps(Pwn()))
    Path("model.safetensors").write_bytes(pickle.dumps(Pwn()))
    Path("empty.safetensors").touch()
    for name in ("model.pth", "model.safetensors", "empty.safetensors", "gone", "."):
        assert cli.main(["predict", name, "a.png"]) == 76
        one_line(capsys.readouterr().err.strip())
    assert not Path("pwned").exists()


def test_a_truncated_or_altered_model_is_refused(trained, tmp_path, capsys):
    whole = (trained / "model.safetensors").read_bytes()
    image().save(tmp_path / "a.png")
    for cut in (8, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "m.safetensors").write_bytes(whole[:cut])
        assert cli.main(["predict", str(tmp_path / "m.safetensors"), str(tmp_path / "a.png")]) == 76
    for old, new in ((b'"compact', b'"builtin'), (b'"chosen', b'"unsaid')):
        altered = whole.replace(old.replace(b'"', b'\\"'), new.replace(b'"', b'\\"'))
        assert altered != whole
        (tmp_path / "m.safetensors").write_bytes(altered)
        assert cli.main(["predict", str(tmp_path / "m.safetensors"), str(tmp_path / "a.png")]) == 76


def test_help_does_not_wait_for_torch():
    code = "import sys, polyak.cli; polyak.cli.main(['--help']); print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert told.stdout.strip().endswith("False")
