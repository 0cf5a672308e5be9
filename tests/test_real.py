"""The same promises on real images and in real processes: minutes, for `make test-slow`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from jobs import results
from polyak import cli, keys

pytestmark = pytest.mark.slow


def polyak(*words: object) -> list[str]:
    return [sys.executable, "-m", "polyak", *map(str, words)]


def test_digits_are_read(tmp_path):
    assert cli.main(["train", "digits", "--out", str(tmp_path)]) == 0
    assert cli.main(["evaluate", str(tmp_path / "digits"), "digits"]) == 0
    with safe_open(tmp_path / "digits/model.safetensors", "np") as file:
        measured = json.loads(file.metadata()["polyak"])["evaluation"]
    assert measured["split"] == "test"
    assert measured["accuracy"]["value"] >= 0.985


def test_photographs_from_weights(real_data, tmp_path):
    weights = real_data / "weights/mobilenetv2_100.safetensors"
    half = ["0.5", "0.5", "0.5"]
    typed = ["train", str(real_data / "hymenoptera"), "--weights", str(weights), "--mean", *half]
    assert cli.main([*typed, "--std", *half, "--epochs", "4", "--out", str(tmp_path)]) == 0
    with safe_open(tmp_path / "hymenoptera/model.safetensors", "np") as file:
        assert json.loads(file.metadata()["polyak"])["evaluation"]["accuracy"]["value"] > 0.85


def test_twenty_kills_of_real_processes(real_data, tmp_path):
    """CIFAR-10's images, whole commands, killed at any moment from their first import on."""
    source = tmp_path / "some"
    for folder in sorted((real_data / "cifar10/train").iterdir()):
        (source / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[:60]:
            (source / folder.name / file.name).symlink_to(file)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    choices = ("--epochs", 20, "--widths", 16, 16, "--threads", 1, "--save-every", 0.2)

    def live(name: str, seconds: float | None) -> int:
        command = polyak("train", source, *choices, "--out", tmp_path, "--name", name, "--resume")
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        if seconds is not None:
            time.sleep(seconds)
            child.send_signal(signal.SIGKILL)
        return child.wait()

    began = time.monotonic()
    assert live("whole", None) == 0
    duration = time.monotonic() - began
    killed, trial = 0, 0
    while killed < 20:
        trial += 1
        for life in range(5):
            moment = float(keys.uniform("kill", 1, trial, life)) * duration
            killed += live(f"trial-{trial}", moment) == -signal.SIGKILL
        assert live(f"trial-{trial}", None) == 0
        assert results(tmp_path / f"trial-{trial}") == results(tmp_path / "whole")


def test_a_budget_is_kept(real_data, tmp_path):
    began = time.monotonic()
    command = polyak("train", real_data / "cifar10/train", "--budget", "3m", "--out", tmp_path)
    assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    assert 0.95 * 180 <= time.monotonic() - began <= 1.05 * 180
    header = Path(tmp_path / "train/metrics.csv").read_text().splitlines()[0]
    assert "wait_share" in header
