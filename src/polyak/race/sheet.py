"""What a race on images came to: its figures, race.json and race.html."""

import json
import math
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np

from polyak import machine
from polyak.decoding.unreadable import PIXEL_CAP
from polyak.errors import DivergedError, counted, shown
from polyak.files import write_atomic
from polyak.race.contest import Contest
from polyak.race.page import render
from polyak.race.verdict import Verdict, accuracy, compared, listed

POINTS = 60  # of a training curve
SAME = ("model", "widths", "size", "batch_size", "schedule", "warm_up", "rho", "weight_decay",
        "label_smoothing", "augment", "mix", "val", "seed")  # fmt: skip


def figures(contest: Contest) -> dict[str, Any]:
    """Put all that a race found into plain JSON, whether it ran to its end or was stopped.

    Raises:
        DivergedError: no optimizer had a rate at which it did not diverge.
    """
    if not contest.rates and not contest.signal:
        raise DivergedError("every optimizer diverged at every rate", then="try lower --sweep")
    course, plan, seeds = contest.course, contest.plan, contest.rounds()
    right = contest.right()
    verdict = compared(right) if right else None
    resolved, data = course.session(plan.optimizers[0]).resolved, course.data
    return {
        "version": 1,
        "kind": "data",
        "data": contest.recipe.data,
        "classes": list(data.classes),
        "counts": {name: len(part) for name, part in data},
        "left_out": len(data.dataset.quarantine),
        "lost": [list(pair) for pair in sorted(data.lost().items())],
        "same": {name: getattr(resolved, name) for name in SAME},
        "steps": plan.steps,
        "epochs": round(plan.steps / course.epoch, 2),
        "sweep_steps": plan.sweep_steps,
        "seeds": seeds,
        "seeds_planned": len(plan.seeds),
        "measured_on": {"split": course.measured_on, "n": course.measured},
        "stopped": bool(contest.signal),
        "results": [_result(contest, name, right, seeds) for name in contest.rates],
        "diverged": [name for name in plan.optimizers if _always_diverged(contest, name)],
        "sweep": contest.sweep,
        "verdict": verdict.as_json() if verdict else None,
        "next": _next(contest, verdict),
        "machine": {**machine.describe(), "threads": course.machine.threads._asdict()},
        "seconds": round(time.monotonic() - contest.began, 1),
    }


def _always_diverged(contest: Contest, name: str) -> bool:
    tries = [row["nll"] for row in contest.sweep if row["optimizer"] == name]
    return bool(tries) and not any(nll is not None for nll in tries)


def _result(contest: Contest, name: str, right: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
    runs = [contest.runs[name, seed] for seed in seeds]
    rates = [r["learning_rate"] for r in contest.sweep if r["optimizer"] == name]
    rate = contest.rates[name]
    found = accuracy(right[name]) if runs else None
    return {
        "optimizer": name,
        "learning_rate": rate,
        "at_edge": len(rates) > 1 and rate in (min(rates), max(rates)),
        "accuracy": vars(found) if found else None,
        "accuracies": [float(run.right.mean()) for run in runs],
        "diverged": sum(run.diverged for run in runs),
        "loss": _band([_thinned(run.losses, contest.plan.steps) for run in runs]),
        "validation": _band([dict(run.validations) for run in runs]),
    }


def _thinned(losses: list[float], steps: int) -> dict[int, float]:
    """Means of stretches of a training curve, by the step that ends each."""
    ends = sorted({round(steps * (k + 1) / POINTS) for k in range(POINTS)} - {0})
    starts = [0, *ends[:-1]]
    return {
        end: float(np.mean(losses[start:end]))
        for start, end in zip(starts, ends, strict=True)
        if end <= len(losses)
    }


def _band(curves: list[dict[int, float]]) -> list[list[float]]:
    """Rows of (step, mean, lowest, highest) over seeds, as far as all of them go."""
    steps = [step for step in (curves[0] if curves else ()) if all(step in c for c in curves)]
    rows = [[c[step] for c in curves] for step in steps]
    return [
        [step, *(float(f"{f(row):.5g}") for f in (np.mean, min, max))]
        for step, row in zip(steps, rows, strict=True)
    ]


def _next(contest: Contest, verdict: Verdict | None) -> str:
    """The command that takes the recommendation; nothing where none is supported."""
    if verdict is None or verdict.no_difference or not verdict.worse or len(contest.rounds()) < 2:
        return ""
    rate, recipe = contest.rates[verdict.best], contest.recipe
    data = shlex.quote(shown(recipe.data))
    if recipe.classes_from != "auto":
        data += f" --classes-from {recipe.classes_from}"
    if recipe.pixel_cap != PIXEL_CAP:
        data += f" --max-pixels {recipe.max_pixels}"
    return (
        f"polyak train {data} --model {recipe.model} "
        f"--optimizer {verdict.best} --learning-rate {rate:g}"
    )


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Lay the results out as words, best first: optimizer, rate, accuracy, interval, behind."""
    verdict = found["verdict"] or {"best": "", "behind": {}, "worse": []}
    laid = []
    for result in found["results"]:
        name, figure = result["optimizer"], result["accuracy"]
        edge = ", the edge of the sweep" if result["at_edge"] else ""
        behind = verdict["behind"].get(name)
        laid.append(
            {
                "optimizer": name,
                "rate": f"{result['learning_rate']:.3g}{edge}",
                "accuracy": f"{figure['value']:.2%}" if figure else "not run",
                "interval": f"{figure['low']:.1%} to {figure['high']:.1%}" if figure else "",
                "behind": _points(behind) if behind else "best" if name == verdict["best"] else "",
                "worse": name in verdict["worse"],
                "diverged": result["diverged"],
                "value": figure["value"] if figure else -math.inf,
            }
        )
    return sorted(laid, key=lambda row: -row["value"])


def _points(behind: dict[str, Any]) -> str:
    value, low, high = (100 * behind[part] for part in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def sentences(found: dict[str, Any]) -> list[str]:
    """Say what was found and how, a sentence each; the first is the recommendation."""
    n, split = found["measured_on"]["n"], found["measured_on"]["split"]
    lines = []
    if found["stopped"]:
        done = f"{len(found['seeds'])} of {found['seeds_planned']} seeds were finished"
        lines.append(f"Stopped before the end: {done}.")
    if found["verdict"]:
        lines.append(found["verdict"]["text"])
    if found["diverged"]:
        lines.append(f"Diverged at every rate, not raced: {listed(found['diverged'])}.")
    if found["lost"]:
        path, why = found["lost"][0]
        lines.append(
            f"{len(found['lost'])} images could not be read to the end, and count as wrong for all "
            f"alike; the first: {shown(path)}: {shown(why)}."
        )
    if found["verdict"]:
        k = max(1, len(found["results"]) - 1)
        also = ", which also chose the rates: expect a little less" if split == "val" else ""
        together = f", and the {k} intervals hold together" if k > 1 else ""
        lines.append(
            f"{counted(len(found['seeds']), 'seed')}, {counted(found['steps'], 'step')} each "
            f"({found['epochs']:g} times the training images); accuracy on {counted(n, 'image')} "
            f"of {split}{also}. Intervals are 95 %, over seeds and images; differences are paired "
            f"by both{together}."
        )
    return lines


def write(found: dict[str, Any], out: Path) -> None:
    """Write race.json and race.html.

    Raises:
        DiskError: nothing can be written there.
    """
    lines = sentences(found)
    shown_data = {
        "rules": list(dict.fromkeys(row["optimizer"] for row in found["sweep"])),
        "results": found["results"],
        "sweep": found["sweep"],
        "steps": found["steps"],
    }
    page = render(
        "pictures.html",
        "pictures.js",
        shown_data,
        name=shown(found["data"]),
        classes=[shown(name) for name in found["classes"][:12]],
        more=max(0, len(found["classes"]) - 12),
        found=found,
        rows=rows(found),
        first=lines[0] if lines else "Stopped before anything was measured.",
        lines=lines[1:],
        same={k.replace("_", " "): v for k, v in found["same"].items() if v is not None},
    )
    write_atomic(out / "race.html", page)
    text = json.dumps(found, indent=1, allow_nan=False, ensure_ascii=True)
    write_atomic(out / "race.json", text + "\n")
