"""An ONNX file says what polyak says, to a runtime that knows nothing of polyak."""

import importlib.util
import json
import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from classifiers import CLASSES, made, mixed, some_images
from polyak import __version__
from polyak.data import Images
from polyak.errors import DataError, RefusedError, UsageError
from polyak.export import graph, to_onnx
from polyak.export.check import said_bare
from polyak.metrics import softmax


def runtime(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {session.get_inputs()[0].name: batch})[0]


@pytest.mark.parametrize(
    "one",
    [made(temperature=0.6, fraction=0.875), made("mobilenetv2_050", 32, views="flip"), mixed()],
    ids=["compact", "timm", "ensemble"],
)
def test_64_images_one_at_a_time(one, tmp_path):
    """Images of five sizes that the export did not check itself with."""
    found = to_onnx(one, tmp_path / "m.onnx")
    assert found.n == found.same == 64 and found.difference < 1e-4
    run, images = runtime(tmp_path / "m.onnx"), some_images(64)
    said = np.concatenate([run(image[None]) for image in images])
    want, _ = one.probabilities(Images.of(images))
    assert np.abs(said - want).max() < 1e-4
    assert (said.argmax(1) == want.argmax(1)).all()
    assert len(np.unique(want.argmax(1))) > 1  # images that are told apart


def test_batches_of_any_length(tmp_path):
    one = made()
    to_onnx(one, tmp_path / "m.onnx")
    run, batch = runtime(tmp_path / "m.onnx"), np.stack(some_images(64)[::5])
    alone = np.concatenate([run(picture[None]) for picture in batch])
    assert np.allclose(run(batch), alone, atol=1e-6)


def test_bare_takes_normalised_images(tmp_path):
    one = made(temperature=1.5, views="flip", fraction=0.8)
    to_onnx(one, tmp_path / "m.onnx", bare=True)
    page, image = one.preprocessing, Images.of(some_images(64))
    logits = said_bare(one, image, runtime(tmp_path / "m.onnx"))
    assert np.abs(softmax(logits) - one.probabilities(image, views="one")[0]).max() < 1e-4
    (wanted,) = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).get_inputs()
    assert wanted.type == "tensor(float)" and wanted.shape == ["batch", 3, *page.size]


def test_a_file_tells_what_it_is(tmp_path):
    one = made(views="flip")
    to_onnx(one, tmp_path / "m.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]  # no weights beside it
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["polyak_version"] == __version__
    assert tuple(json.loads(told["classes"])) == CLASSES
    assert json.loads(told["views"]) == ["flip"]
    (page,) = json.loads(told["preprocessing"])
    assert page == json.loads(json.dumps(one.preprocessing.as_facts()))
    (wanted,), (said,) = model.graph.input, model.graph.output
    assert (wanted.name, said.name) == ("pictures", "probabilities")
    assert wanted.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    free = [one.dim_param for one in wanted.type.tensor_type.shape.dim]
    assert free[:3] == ["batch", "height", "width"]


@pytest.mark.parametrize("opset", [17, 18, 22])
def test_the_operators_are_of_the_version_that_was_asked_for(tmp_path, opset):
    found = to_onnx(made(), tmp_path / "m.onnx", opset=opset)
    assert found.same == 64
    (wanted,) = onnx.load(tmp_path / "m.onnx").opset_import
    assert (wanted.domain, wanted.version) == ("", opset)


@pytest.mark.parametrize("opset", [9, 999, 0, -1])
def test_a_version_that_cannot_be_written_is_refused_in_one_line(tmp_path, opset, capfd):
    with pytest.raises(UsageError, match=f"--opset {opset}: ") as refused:
        to_onnx(made(), tmp_path / "m.onnx", opset=opset)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")  # the converter's tracebacks are not for a person
    assert logging.root.manager.disable == logging.NOTSET


def test_a_graph_that_says_something_else_gets_no_name(tmp_path, monkeypatch):
    (tmp_path / "m.onnx").write_text("the old one")
    monkeypatch.setattr(graph, "tempered", lambda logs, *_: logs)
    with pytest.raises(RefusedError, match="does not say what polyak says") as refused:
        to_onnx(mixed(), tmp_path / "m.onnx")
    assert refused.value.exit_code == 76
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_text() == "the old one"


def test_a_number_that_is_none_gets_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "combine", lambda log_probs, *_: log_probs[0] * torch.nan)
    with pytest.raises(RefusedError, match="nan"):
        to_onnx(made(), tmp_path / "m.onnx")


def test_own_images_check_it(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, picture in enumerate(some_images(70)):
        Image.fromarray(picture).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no")
    assert to_onnx(made(), tmp_path / "m.onnx", data=str(folder)).n in (63, 64)
    for file in folder.glob("[0-9]*"):
        file.unlink()
    with pytest.raises(DataError, match=r"broken\.png"):
        to_onnx(made(), tmp_path / "m.onnx", data=str(folder))


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    with pytest.raises(UsageError, match=r"onnxruntime.*pip install 'polyak\[export\]'"):
        to_onnx(made(), tmp_path / "m.onnx")


def test_more_weights_than_a_file_holds_are_refused(tmp_path, monkeypatch):
    from polyak.export import onnx_file

    monkeypatch.setattr(onnx_file, "LARGEST", 1000)
    with pytest.raises(UsageError, match=r"2 GiB.*--to torch-export"):
        to_onnx(made(), tmp_path / "m.onnx")
