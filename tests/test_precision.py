"""The number format: asked for, probed in a child that may die, remembered."""

import json

import pytest

from polyak import machine, precision
from polyak.errors import UsageError


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_precision_that_is_asked_for_is_given(wanted):
    assert precision.precision(wanted) == (wanted, "asked for")


def test_other_precisions_are_refused():
    with pytest.raises(UsageError, match=r"float16.*use auto"):
        precision.precision("float16")


def test_precision_is_not_probed_without_the_instructions(monkeypatch):
    monkeypatch.setattr(machine, "cpu_field", lambda _: "sse2 avx2")
    monkeypatch.setattr(precision, "probe", lambda: pytest.fail("probed"))
    assert precision.precision("auto").name == "float32"


@pytest.fixture
def bfloat16_processor(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "cpu_field", lambda _: "sse2 avx512_bf16")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "polyak/precision.json"


def said(monkeypatch, name):
    monkeypatch.setattr(precision, "probe", lambda: precision.Precision(name, f"probed {name}"))


def test_precision_is_probed_once_for_a_processor(bfloat16_processor, monkeypatch):
    said(monkeypatch, "bfloat16")
    assert precision.precision("auto") == ("bfloat16", "probed bfloat16")
    said(monkeypatch, "float32")
    assert precision.precision("auto") == ("bfloat16", "probed bfloat16")
    monkeypatch.setattr(machine, "cpu_name", lambda: "another processor")
    assert precision.precision("auto") == ("float32", "probed float32")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"x": 1}', '{"%s": ["float16", "x"]}', '{"%s": 3}', '{"%s": [1, 2]}']
)
def test_a_damaged_memory_is_replaced(bfloat16_processor, monkeypatch, text):
    said(monkeypatch, "bfloat16")
    precision.precision("auto")
    key = next(iter(json.loads(bfloat16_processor.read_text())))
    bfloat16_processor.write_text(text.replace("%s", key))
    said(monkeypatch, "float32")
    assert precision.precision("auto") == ("float32", "probed float32")
    assert json.loads(bfloat16_processor.read_text())[key] == ["float32", "probed float32"]


def test_a_closed_cache_folder_costs_only_the_probe(bfloat16_processor, monkeypatch):
    bfloat16_processor.parent.write_text("a file where the folder should be")
    said(monkeypatch, "bfloat16")
    assert precision.precision("auto").name == "bfloat16"


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        ("print(4.2, 2.0)", "bfloat16", "2.1 times"),
        ("print(3.8, 2.0)", "float32", "1.9 times"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "float32", "signal 4"),
        ("raise RuntimeError", "float32", "failed"),
        ("print('nothing useful')", "float32", "failed"),
        ("print(1.0, 0.0)", "float32", "failed"),
        ("import time; time.sleep(60)", "float32", "longer than 1 s"),
    ],
)
def test_probe_survives_whatever_the_child_does(code, name, reason):
    found = precision.probe(code, seconds=1 if "sleep" in code else 60)
    assert found.name == name
    assert reason in found.reason
    assert "\n" not in found.reason


def test_the_real_probe_measures():
    found = precision.probe()
    assert found.name in ("float32", "bfloat16")
    assert any(word in found.reason for word in ("times as fast", "signal", "longer than"))
