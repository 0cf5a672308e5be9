"""What a checkpoint must say to be one of this run: every counter, shape and name against the run.

Its hash tells that it is what was written. That it fits is asked here, in one place, before
anything of it is used.
"""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polyak.errors import RefusedError
from polyak.optim.muon import Matrices
from polyak.rundir.checks import (
    Check,
    equal,
    fields,
    items,
    many,
    maybe,
    real,
    table,
    tensor,
    text,
    whole,
)
from polyak.training.pace import Pace
from polyak.training.snapshots import SnapshotFiles, name_of
from polyak.training.step import TrainingStep
from polyak.training.training import Training
from polyak.training.validation import BATCH_NORM_IMAGES, Validator, due_by

# a checkpoint's bytes: eight averages, a rule's state, and the same of a trunk
SIZE_FACTOR, SIZE_SLACK = 32, 256 << 20
MOST_STEPS = 10**12
LARGEST = 1e30  # of an option that moves in the course of a run


def largest(network: nn.Module) -> int:
    """Give the bytes that no checkpoint of a network's training exceeds.

    >>> largest(nn.Linear(2, 2)) - SIZE_SLACK
    768
    """
    size = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    return SIZE_SLACK + SIZE_FACTOR * size


def first_pace(state: dict[str, Any], folder: Path) -> Pace:
    """Read the pace that a run began with.

    Raises:
        RefusedError: it is none.
    """
    found = state.get("first_pace")
    _ask(items(real(1 / MOST_STEPS, 1), whole(0, 0), real(0, 0)), found, "first_pace", folder)
    return Pace(*state["first_pace"])


def check(training: Training, state: dict[str, Any], folder: Path) -> None:
    """Refuse a state that another run has saved, or nobody; the training is not changed.

    Args:
        training: as the run begins it, before any state was loaded.
        state: of a checkpoint whose hash is right.
        folder: the run's checkpoint folder.

    Raises:
        RefusedError: something in it contradicts the run.
    """
    _ask(whole(0, MOST_STEPS), state.get("step"), "step", folder)
    step, first_pace = state["step"], equal(astuple(training.pacer.first))
    bent = items(real(1 / MOST_STEPS, 1), whole(0, step), real(0, 1))
    images = step * min(training.loader.batch_size, len(training.loader.labels))
    times = ("spent", "validation_seconds", "finish_seconds")
    clock = {name: real(0) for name in times} | {"step_seconds": many(real(0), 100)}
    checks = {
        "step": whole(),
        "first_pace": first_pace,
        "pace": first_pace if training.session.clock.budget is None else bent,
        "loss": items(real(), whole(0, step)),
        "spent": items(*[real(0)] * 4, whole(0, images)),
        "learner": _step(training.step, step),
        "judge": _validator(training.validator, training.step.network),
        "clock": fields(clock),
        "journal": whole(),
    }
    if training.step.falls:
        checks["trunk"] = _trunk(training.step, step)
    _ask(fields(checks), state, "it", folder)
    if why := _contradiction(training, state):
        raise _refused(folder, why)


def _contradiction(training: Training, state: dict[str, Any]) -> str:
    """Say which counters disagree with one another, or nothing."""
    step, pace, validated = state["step"], Pace(*state["pace"]), state["judge"]
    validator = training.validator
    if step and pace.over(step - 1):
        return f"it has taken {step} steps, and the run is over after fewer"
    learner = state["learner"]
    if training.step.falls and training.session.clock.budget is None and step:
        until = training.step.trunk.falling(pace.at(step - 1))
        ended = state["judge"]["snapshots"]["ended"]
        falls = until is not None and validator.snapshots.ended_by(until) > ended
        if falls != (state["trunk"]["kept"] is not None):
            return "its trunk is kept where no fall is, or is not where one is"
    learnt = step - (state["trunk"]["lost"] if training.step.falls else 0)
    counts = [average["count"] for average in learner["averages"]]
    states = learner["optimizer"]["state"].values()
    if states and all("step" in one for one in states):
        counts.append(int(max(float(one["step"]) for one in states)))
    if odd := [count for count in counts if count != learnt]:
        return f"it has taken {step} steps, and counts {odd[0]} elsewhere"
    if step and not states and any(_twin(part).state for part in _parts(training.step.optimizer)):
        return f"it has taken {step} steps, and the optimizer remembers none"
    # what was due at the step before is done; what is due at this one may lie behind or ahead
    now, before = pace.at(step), pace.at(step - 1) if training.session.clock.budget is None else 0.0
    times = validated.get("times", validator.times)
    if not due_by(before, times) <= validated["done"] <= due_by(now, times):
        return f"{validated['done']} validations are done, of {due_by(now, times)} that were due"
    ended = validated["snapshots"]["ended"]
    if not validator.snapshots.ended_by(before) <= ended <= validator.snapshots.ended_by(now):
        return f"{ended} cycles have ended, of {validator.snapshots.ended_by(now)}"
    run, known = training.run, state["journal"]
    written = run.journal_length() if run else 0
    if 0 < written < known:
        return f"metrics.jsonl ends at byte {written}, before byte {known}"
    if run and written and not run.ends_line(known):
        return f"no line of metrics.jsonl ends at byte {known}"
    return ""


def _trunk(learning: TrainingStep, step: int) -> Check:
    """Ask for nothing, or for what the step's own parts were when the fall began."""
    kept = maybe(items(_step(learning, step)))
    return fields(
        {"kept": kept, "since": whole(0, step), "until": real(0, 1), "lost": whole(0, step)}
    )


def _step(learning: TrainingStep, step: int) -> Check:
    averages = [
        fields({"count": whole(), "settings": equal(one.settings), "x_test": table(one.x_test)})
        for one in learning.averages
    ]
    parts = {"network": table(learning.network.state_dict()), "averages": items(*averages)}
    return fields(parts | {"optimizer": _optimizer(learning, step)})


def _optimizer(learning: TrainingStep, step: int) -> Check:
    """Ask for the groups that the run itself makes, and for states as the rule makes them."""
    groups, states, saved = [], {}, learning.optimizer.state_dict()["param_groups"]
    for part in _parts(learning.optimizer):
        twin, own = _twin(part), [saved.pop(0) for _ in part.param_groups]
        groups += _groups(part, twin, own, bool(learning.rates.rho_range))
        for group, asked in zip(part.param_groups, own, strict=True):
            for place, parameter in zip(asked["params"], group["params"], strict=True):
                states[place] = _state(twin, parameter, step)
    return fields({"param_groups": items(*groups), "state": fields({}, states)})


def _parts(optimizer: torch.optim.Optimizer) -> list[torch.optim.Optimizer]:
    """Give the rules that an optimizer is made of, in the order of its groups."""
    return list(getattr(optimizer, "parts", ())) or [optimizer]


def _groups(
    optimizer: torch.optim.Optimizer, twin: torch.optim.Optimizer, saved: list[dict], cycled: bool
) -> list[Check]:
    """Ask for the options of a rule's groups; those that move in the course of a run are open."""
    number = real(-LARGEST, LARGEST)
    moving = {"lr", *(twin.param_groups[0].keys() - optimizer.param_groups[0].keys())}
    moving |= {"momentum", "betas"} if cycled else set()
    groups = []
    for group in saved:
        usual = {name for name in group if group[name] == optimizer.defaults.get(name)}
        asked = {name: equal(value) for name, value in group.items()}
        asked |= dict.fromkeys(moving, number)
        if isinstance(group.get("betas"), tuple | list) and "betas" in moving:
            asked["betas"] = items(number, number)
        # a file from before an option existed had what is usual
        open_to = usual | moving - {"lr"} | set(getattr(optimizer, "torch_only", ()))
        must = {name: ask for name, ask in asked.items() if name not in open_to}
        groups.append(fields(must, asked))
    return groups


def _twin(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Take one step by the same rule on two numbers, to see what it keeps."""
    weight = torch.zeros((1, 2) if isinstance(optimizer, Matrices) else 2, requires_grad=True)
    weight.grad = torch.zeros_like(weight)
    kind: Any = type(optimizer)
    twin = kind([weight], lr=0.1)
    twin.step()
    return twin


def _state(twin: torch.optim.Optimizer, parameter: Tensor, step: int) -> Check:
    """Ask for what the rule keeps of one parameter: tensors of its shape, and numbers."""
    asked: dict[str, Check] = {}
    for name, value in next(iter(twin.state.values()), {}).items():
        of_its_shape = torch.empty(parameter.shape, dtype=value.dtype, device="meta")
        asked[name] = tensor(of_its_shape if value.ndim else value)

    def check(value: Any, place: str) -> None:
        fields({}, asked)(value, place)
        count = float(value.get("step", 0))
        if not (0 <= count <= step and count.is_integer()):
            raise ValueError(f"{place}.step is {count:g}, of {step} steps")

    return check


def _validator(validator: Validator, network: nn.Module) -> Check:
    patient, ends = validator.patience is not None, validator.snapshots.ends
    stale = validator.times + len(ends) if patient else 0
    return fields(
        {
            "done": whole(0, validator.times),
            "stale": whole(0, stale),
            "best_score": real(-1, 1),
            "best": maybe(table(network.state_dict())) if patient else equal(None),
            "snapshots": _snapshots(validator.snapshots),
        },
        # a clock may have thinned them out
        {"times": whole(1, validator.times), "most_refreshed": whole(1, BATCH_NORM_IMAGES)},
    )


def _snapshots(snapshots: SnapshotFiles) -> Check:
    """Ask for members of this run alone, in their order, by the names that it gives them."""
    places = {name_of(number): number for number in range(1, len(snapshots.ends) + 1)}
    sealed = text("[0-9a-f]{64}")
    entry = fields({"file": text(r"[\w.-]+"), "sha256": sealed, "share": real(0, 1)})

    def check(value: Any, place: str) -> None:
        ended = whole(0, len(snapshots.ends))
        fields({"ended": ended, "entries": many(entry, len(snapshots.ends))})(value, place)
        numbers = [places.get(one["file"], 0) for one in value["entries"]]
        last = numbers[-1] if numbers else 0
        if numbers != sorted({*numbers} - {0}) or last != value["ended"]:
            raise ValueError(f"{place} names other members than those of {value['ended']} cycles")
        shares = [snapshots.ends[number - 1] for number in numbers]
        if shares != [one["share"] for one in value["entries"]]:
            raise ValueError(f"{place} names members of other cycles")

    return check


def _ask(checked: Check, value: Any, place: str, folder: Path) -> None:
    try:
        checked(value, place)
    except ValueError as error:
        raise _refused(folder, str(error)) from error


def _refused(folder: Path, why: str) -> RefusedError:
    return RefusedError(
        "the checkpoint is not of this run",
        where=str(folder),
        why=why,
        kept="all checkpoints",
        then="bring the run's own files back, or start again under another --name",
    )
