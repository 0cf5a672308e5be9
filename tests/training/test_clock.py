"""A budget is spent on steps: what is kept for the end is what the end will take."""

import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from jobs import train
from polyak.networks import build
from polyak.training.step import TrainingStep
from polyak.training.validation import Validator

NAME = "mobilenetv3_small_050"
BUDGET = 600.0
STEP = 4.0  # seconds of a step


@dataclass
class Work:
    """Seconds by kind of work, on a clock that only work moves."""

    now: float = 0.0
    steps: int = 0
    other: float = 0.0

    def spend(self, seconds):
        self.now += seconds
        self.other += seconds


@pytest.fixture
def work(monkeypatch):
    """Steps take some seconds; so does an image that is predicted, the first one much longer."""
    clock = Work()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    real = TrainingStep.__call__

    def step(self, *given):
        now, other = clock.now, clock.other
        loss = real(self, *given)
        clock.now, clock.other = now + STEP, other  # its forward pass is within
        clock.steps += 1
        return loss

    monkeypatch.setattr(TrainingStep, "__call__", step)
    return clock


def forwards(clock, image_seconds, start_up):
    """Let each forward pass of a whole network take its time."""
    seen = []

    def hook(module, inputs, _):
        if type(module).__name__ in ("MobileNetV3", "Compact"):
            clock.spend(len(inputs[0]) * image_seconds + (0 if seen else start_up))
            seen.append(True)

    return torch.nn.modules.module.register_module_forward_hook(hook)


def run_of(job, tmp_path, **choices):
    torch.manual_seed(0)
    save_file(build(NAME, 7).state_dict(), tmp_path / f"{NAME}.safetensors")
    return job(
        model="auto", widths=None, weights=str(tmp_path / f"{NAME}.safetensors"), size=32,
        epochs=None, budget=f"{BUDGET:.0f}s", transfer="all", save_every=1e9, **choices,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("image_seconds", "start_up", "freeze_norms"),
    [(0.02, 0.0, True), (0.5, 20.0, True), (0.2, 20.0, False), (0.5, 0.0, False)],
)
def test_nearly_all_steps_that_fit_are_taken(
    job, tmp_path, monkeypatch, work, image_seconds, start_up, freeze_norms
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = run_of(job, tmp_path, freeze_norms=freeze_norms)
    with forwards(work, image_seconds, start_up):
        *_, end = train(recipe)
    trial = 10  # that time a step, and are thrown away
    fit = (BUDGET - work.other - trial * STEP) / STEP
    taken = work.steps - trial
    assert work.now <= 1.05 * BUDGET
    assert taken >= 0.9 * fit, (taken, fit, work)
    assert end["kind"] == "end"


@pytest.mark.parametrize(
    ("each", "seconds", "images"),
    [(0.5, 30.0, 30), (0.5, 4.0, 16), (0.5, 1e9, 4096), (0.0, 4.0, 4096)],
)
def test_statistics_are_estimated_from_as_many_images_as_there_is_time_for(each, seconds, images):
    """Two estimates are due at the end: of three candidates one has statistics of its own."""
    loader = SimpleNamespace(batch_size=16, labels=range(10_000))
    validator = Validator({}, loader, None, None, 4, None, 1, print, candidates=3)
    validator.refresh_seconds = each
    assert validator.affordable_refresh(seconds) == images
    validator.most_refreshed = images
    state = validator.state_dict()
    other = Validator({}, loader, None, None, 4, None, 1, print, candidates=3)
    other.load_state_dict(state)
    assert other.most_refreshed == images
    other.load_state_dict({k: v for k, v in state.items() if k != "most_refreshed"})  # of 0.1
    assert other.most_refreshed == images


def test_a_slow_step_is_timed_twice_and_no_more(job, monkeypatch, work):
    from polyak.jobs.command import Command
    from polyak.jobs.open import open_session
    from polyak.training.timing import EXPECTED, step_seconds

    session = open_session(Command.alone(job(epochs=1)))
    network = session.network()
    loader = session.loader(network)
    assert step_seconds(session.step(network, EXPECTED), loader, 3.0) == pytest.approx(STEP)
    assert work.steps == 2
    step_seconds(session.step(network, EXPECTED), loader)
    assert work.steps == 2 + 10
