"""Runs on images that have several labels, from the table to the model file and its page."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file

from jobs import results, run, steps, train
from polyak import load
from polyak.data import find, scan
from polyak.errors import DataError, RefusedError, UsageError
from polyak.model import LabelledData
from polyak.networks import build
from polyak.verbs.predict import as_csv, as_json

COLOURS = {"blue": (40, 40, 250), "green": (40, 250, 40), "red": (250, 40, 40)}
NAME = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A table of 120 images, each with none to three squares of the colours that it names."""
    folder = tmp_path_factory.mktemp("squares")
    lines = ["path,labels,split"]
    for number in range(120):
        draw = np.random.default_rng(number)
        image = draw.integers(0, 100, (32, 32, 3), dtype=np.uint8)
        names = [name for name in COLOURS if draw.random() < 0.5]
        for place, name in enumerate(names):
            image[2 + 10 * place : 11 + 10 * place, 4:28] = COLOURS[name]
        Image.fromarray(image).save(folder / f"{number}.png")
        part = "test" if number % 4 == 0 else ""
        lines.append(f"{number}.png,{';'.join(names)},{part}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    return folder / "data.csv"


@pytest.fixture
def own(job, squares):
    return lambda **choices: job(
        **({"data": str(squares), "epochs": 6, "precision": "float32"} | choices)
    )


def test_a_network_learns_them_and_its_file_says_so(own, squares, tmp_path):
    end = run(own(epochs=20))
    assert end["evaluation"]["map"]["value"] > 0.9
    assert len(end["thresholds"]) == 3
    model = load(tmp_path / "runs/job")
    assert model.kind.several and list(model.kind.thresholds) == end["thresholds"]
    found = model.evaluate(str(squares)).as_json()
    for name in ("map", "f1", "micro_f1", "nll", "accuracy"):
        assert found[name]["value"] == pytest.approx(end["evaluation"][name]["value"], abs=1e-4)
    files = [squares.parent / f"{number}.png" for number in (0, 4, 8)]
    predictions = model.predict(files)
    p = predictions.probabilities
    assert (predictions.given == (p >= np.array(end["thresholds"]))).all()
    assert set(predictions.labels(0)) == {
        name for name, yes in zip(model.classes, predictions.given[0], strict=True) if yes
    }
    header = as_csv(predictions, 1).splitlines()[0]
    assert header == "path,labels,blue,green,red,error"
    assert json.loads(as_json(predictions, 1))[0]["labels"] == predictions.labels(0)


def test_left_and_resumed_is_never_left(own, tmp_path):
    run(own(name="whole", mix="cutmix"))
    steps(own(mix="cutmix"), 7)
    assert [r["kind"] for r in train(own(mix="cutmix"), resume=True)][-1] == "end"
    assert results(tmp_path / "runs/whole") == results(tmp_path / "runs/job")


def test_snapshots_are_joined_as_probabilities(own, tmp_path, squares):
    run(own(ensemble="snapshots", cycles=2))
    model = load(tmp_path / "runs/job", kind="members")
    if len(model.members) < 2:
        pytest.skip("one snapshot was enough")
    logs, _ = model.log_probabilities(model.opened(scan(find(squares))))
    mean = np.average(np.exp(logs), 0, model.weights)
    wanted = 1 / (1 + np.exp(-np.log(mean / (1 - mean)) / model.temperature))
    np.testing.assert_allclose(model.together(logs), wanted, atol=1e-4)


@pytest.fixture
def from_weights(own, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    save_file(build(NAME, 7).state_dict(), tmp_path / f"{NAME}.safetensors")
    weights = str(tmp_path / f"{NAME}.safetensors")
    chosen = {"weights": weights, "model": "auto", "widths": None, "epochs": None, "size": 32}
    return lambda **more: own(**(chosen | more))


def test_a_probe_with_folds_predicts_every_image_unseen(from_weights, tmp_path):
    end = run(from_weights(folds=4))
    table = load_file(tmp_path / "runs/job/predictions/oof.safetensors")
    assert table["probabilities"].shape == table["labels"].shape == (90, 3)
    assert end["evaluation"]["split"] == "test" and end["folds"]["evaluation"]["n"] == 90
    assert 0 < end["folds"]["accuracy"]["value"] < 1


@pytest.mark.parametrize("final", ["ensemble", "soup"])
def test_fine_tuned_folds_come_to_one_model(from_weights, tmp_path, final):
    end = run(from_weights(folds=2, transfer="few", epochs=1, final=final))
    model = load(tmp_path / "runs/job")
    assert model.kind.several and len(model.kind.thresholds) == 3
    assert end["folds"]["final"] in (final, "ensemble")


def test_the_page_shows_labels(own, tmp_path):
    end = run(own(epochs=2))
    page = (tmp_path / "runs/job/report.html").read_text()
    assert "Labels beside labels" in page and "mean average precision" in page
    assert f"{100 * end['evaluation']['map']['value']:.2f} %" in page
    assert "report.html was not written" not in (tmp_path / "runs/job/log.txt").read_text()


def test_an_exported_graph_says_the_same(own, tmp_path):
    pytest.importorskip("onnxscript")
    from polyak.export import to_onnx

    run(own(epochs=2))
    model = load(tmp_path / "runs/job")
    assert to_onnx(model, tmp_path / "a.onnx").difference < 1e-4
    assert to_onnx(model, tmp_path / "b.onnx", bare=True).difference < 1e-4


@pytest.mark.parametrize(("choices", "line"), [
    ({"balance": "logits"}, "no --balance here: it is of one label an image"),
    ({"balance": "sampling"}, "no --balance here"),
])  # fmt: skip
def test_what_is_of_one_label_is_refused(own, choices, line):
    with pytest.raises(UsageError, match=line):
        run(own(**choices))


def test_models_and_data_must_be_of_one_kind(own, job, tmp_path, squares, tiny_folder):
    run(own(epochs=1))
    run(job(name="single", epochs=1))
    several, single = load(tmp_path / "runs/job"), load(tmp_path / "runs/single")
    with pytest.raises(DataError, match=r"a class that the model does not know|several labels"):
        single.evaluate(str(squares))
    table = squares.parent / "one.csv"
    table.write_text("path,label\n0.png,red\n1.png,blue\n")
    with pytest.raises(DataError, match="it has one label an image, the model gives several"):
        several.evaluate(LabelledData(str(table)))
    with pytest.raises(UsageError, match="those above their thresholds are given"):
        several.predict([squares.parent / "0.png"], 0.9)
    with pytest.raises(UsageError, match="assumes no shares"):
        several.with_prior({"red": 0.5, "green": 0.3, "blue": 0.2})
    from polyak.model import join

    with pytest.raises(UsageError, match="some give one label"):
        join([several, single])


def test_a_file_with_thresholds_that_are_none_is_refused(own, tmp_path):
    from polyak import tensor_file

    run(own(epochs=1))
    file = tmp_path / "runs/job/model.safetensors"
    with tensor_file.opened(file) as stored:
        tensors = {name: stored.tensor(name) for name in stored.shapes}
        facts = stored.facts
    tensor_file.write(tmp_path / "bad.safetensors", tensors, facts | {"thresholds": [0.5, 7, 1]})
    with pytest.raises(RefusedError, match="a threshold is no probability"):
        load(tmp_path / "bad.safetensors")
