"""Whatever is typed and whatever lies in the folder: one line, a stable exit code, nothing lost."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs import results
from polyak import __version__, cli
from polyak.train import run as runs

FAST = (
    *("--model", "compact", "--widths", "8", "8", "--size", "16", "--epochs", "1"),
    *("--threads", "1", "--batch-size", "16", "--val", "0.25"),
)


@pytest.fixture
def train(tmp_path, capsys):
    """Type `polyak train DATA ...` with small choices; give (exit code, stdout, the error line)."""

    def typed(data, *more):
        out = () if "--out" in more else ("--out", str(tmp_path / "runs"))
        code = cli.main(["train", str(data), *FAST, *out, *more])
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        return code, said.out, said.err.strip()

    return typed


@pytest.fixture(scope="session")
def trained(tiny_folder, tmp_path_factory) -> Path:
    """A finished run on the small pictures that knows them well."""
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


def one_line(text: str) -> str:
    assert text.startswith("polyak: ")
    assert len(text.splitlines()) == 1
    return text


# what is typed


def test_help_names_every_verb_and_needs_nothing(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    verbs = ("train", "evaluate", "predict", "export", "race", "doctor")
    assert all(f"polyak {verb}" in text for verb in verbs)


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
        (["train", "digits", "--views", "all"], "flip"),
        (["train", "digits", "--config", "no.yaml"], "cannot read: no.yaml"),
        (["train", "--resume", "--out", "nowhere"], "no unfinished run"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(typed, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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


# what lies in the folder


def picture(seed: int = 0, size=(20, 24)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def folder(tiny_folder, tmp_path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(tiny_folder, copy)
    return copy


def test_odd_pictures_are_used(folder, train):
    cats = folder / "square 0"
    picture(1).convert("CMYK").save(cats / "cmyk.jpg")
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(cats / "deep.png")
    transparent = picture(2).convert("P")
    transparent.save(cats / "palette.png", transparency=0)
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        picture(10 + turn).save(cats / f"turned{turn}.jpg", exif=exif)
    picture(3, (1, 1)).save(cats / "dot.png")
    picture(4, (1, 5000)).save(cats / "line.png")
    for number, name in enumerate(("고양이", "🐈", "new\nline", "\u202egpj.exe", "=1+1")):
        (folder / name).mkdir()
        for i in range(5):
            picture(100 + 10 * number + i).save(folder / name / f"{i}.png")
    code, out, _ = train(folder)
    assert code == 0
    total = 96 + 1 + 1 + 1 + 8 + 2 + 25
    assert f"{total} files found = {total} used + 0 left out" in out
    assert "\u202e" not in out


def test_bad_files_are_left_out_by_name(folder, train, tmp_path):
    cats = folder / "square 0"
    (cats / "empty.jpg").touch()
    (cats / "text.jpg").write_text("I am no picture")
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
    picture().save(folder / "alone" / "1.png")
    (folder / "nobody").mkdir()
    code, out, _ = train(folder)
    assert code == 0
    assert "alone" in out
    assert "nobody" in out
    assert "5 classes" in out


@pytest.mark.parametrize("case", ["one class", "no images", "no folder", "empty"])
def test_unusable_data_leaves_with_65(case, tmp_path, train):
    data = tmp_path / "data"
    if case != "no folder":
        data.mkdir()
    if case == "one class":
        (data / "cat").mkdir()
        picture().save(data / "cat" / "1.png")
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
        ("path,label\n../../etc/passwd,cat\n", "row"),
        ("path,label\n/etc/passwd,cat\n", "row"),
        ("path,label\nhttp://a/b.png,cat\n", "row"),
    ],
)
def test_a_bad_table_leaves_with_65(table, said, tmp_path, train):
    (tmp_path / "data.csv").write_text(table)
    code, _, error = train(tmp_path / "data.csv")
    assert code == 65
    assert said in one_line(error) or "line 2" in error


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
    handle = runs.lock(tmp_path / "runs/mine")
    (tmp_path / "runs/mine/metrics.jsonl").write_text("")  # as if it were unfinished
    code, _, error = train(tiny_folder, "--name", "mine", "--resume")
    os.close(handle)
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


# what is done with the model


def test_evaluate_measures_what_training_saw(trained, tiny_folder, capsys):
    assert cli.main(["evaluate", str(trained), str(tiny_folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"accuracy", "nll", "ece", "n"}
    assert said["n"] == 96
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
    bad.write_text("no picture")
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


def test_predict_writes_a_table(trained, tiny_folder, tmp_path, capsys):
    out = tmp_path / "said.csv"
    picture = tiny_folder / "square 1" / "3.jpg"
    assert cli.main(["predict", str(trained), str(picture), "--out", str(out)]) == 0
    header, row = out.read_text().splitlines()
    assert header == "path,class1,probability1,error"
    assert row.split(",")[1] == "square 1"
    assert cli.main(["predict", str(trained), str(picture)]) == 0
    assert "square 1" in capsys.readouterr().out


class Pwn:
    def __reduce__(self):
        return (os.system, ("touch pwned",))


def test_no_model_but_ours_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture().save("a.png")
    Path("model.pth").write_bytes(pickle.dumps(Pwn()))
    Path("model.safetensors").write_bytes(pickle.dumps(Pwn()))
    Path("empty.safetensors").touch()
    for name in ("model.pth", "model.safetensors", "empty.safetensors", "gone", "."):
        assert cli.main(["predict", name, "a.png"]) == 76
        one_line(capsys.readouterr().err.strip())
    assert not Path("pwned").exists()


def test_a_truncated_or_altered_model_is_refused(trained, tmp_path, capsys):
    whole = (trained / "model.safetensors").read_bytes()
    picture().save(tmp_path / "a.png")
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
