"""What a run directory says: read with suspicion, whatever is missing is simply not shown."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from polyak.decoding.unreadable import PIXEL_CAP, pixel_count
from polyak.errors import RefusedError
from polyak.files import read_json, read_text, read_yaml
from polyak.report.planned import Plan, read_plan
from polyak.rundir.records import Environment, Recipe, records


@dataclass(frozen=True)
class Answers:
    """What a model said of one part of the data.

    Args:
        paths: n images, as the data names them.
        labels: int64 (n,); of several labels an image int64 (n, K).
        probabilities: float32 (n, K), calibrated.
    """

    paths: list[str]
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def several(self) -> bool:
        """Whether images have several labels."""
        return self.labels.ndim > 1


@dataclass(frozen=True)
class Facts:
    """Everything that the page of a run is made of.

    Args:
        path: the run directory.
        config: the decided recipe, by name.
        text: the same as the YAML page that it was read from.
        environment: machine, versions, what the user asked for.
        classes: names.
        records: of metrics.jsonl.
        counts: images by (class, split).
        training: paths of the training part, in its order.
        quarantine: (path, reason) of what was left out.
        notes: what polyak remarked while it read the data.
        answers: by split, `val`, `oof` and `test`.
        plan: of the transfer planner, where it ran.
    """

    path: Path
    config: dict[str, Any]
    text: str
    environment: dict[str, Any]
    classes: list[str]
    records: list[dict[str, Any]]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    training: list[str] = field(default_factory=list)
    quarantine: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    answers: dict[str, Answers] = field(default_factory=dict)
    plan: Plan | None = None

    @property
    def pixel_cap(self) -> int:
        """The most pixels of an image that the run took."""
        return pixel_count(str(self.config.get("max_pixels", PIXEL_CAP)))

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The records of validations, in order."""
        return [r for r in self.records if r["kind"] == "validation"]

    @property
    def end(self) -> dict[str, Any]:
        """The last record of a finished run, empty for one under way."""
        return next((r for r in reversed(self.records) if r["kind"] == "end"), {})

    @property
    def start(self) -> dict[str, Any]:
        """The first record, empty where there is none."""
        return next((r for r in self.records if r["kind"] == "start"), {})

    @property
    def judged(self) -> str:
        """The split that the run's figures are of: test where it exists, else held-out images."""
        return next((name for name in ("test", "oof", "val") if name in self.answers), "")


def gather(path: Path) -> Facts:
    """Read a run directory, finished or not.

    Raises:
        RefusedError: this is no run directory, or what it holds is damaged.
    """
    path = Path(path)
    if not (path / "config.yaml").is_file():
        then = "give the directory of a run, such as runs/photos"
        why = "no config.yaml in it" if path.is_dir() else "no such directory"
        raise RefusedError("this is no run directory", where=str(path), why=why, then=then)
    try:
        config, text = read_yaml(path / "config.yaml"), read_text(path / "config.yaml")
        Recipe.model_validate(config)
        classes = [str(name) for name in read_json(path / "classes.json")]
        environment = read_json(path / "env.json")
        Environment.model_validate(environment)
        counts, training = _parts(path / "split.csv", classes)
        found = records(path)
        start = next((r for r in found if r["kind"] == "start"), {})
        return Facts(
            path, config, text, environment, classes, found, counts, training,
            [(name, why) for name, why in _table(path / "quarantine.csv", ("path", "reason"))],
            [str(line) for line in start.get("warnings", [])],
            {k: one for k in ("val", "oof", "test") if (one := _answers(path, k, classes))},
            read_plan(path / "plan.json") if (path / "plan.json").exists() else None,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        why = " ".join(str(error).split())[:200]
        raise RefusedError("cannot read the run", where=str(path), why=why) from error


def _table(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Read some columns of a CSV, a row at a time: of a million images no more is kept."""
    if not file.exists():
        return
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        rows = csv.reader(lines)
        header = next(rows, [])
        if missing := [name for name in columns if name not in header]:
            raise ValueError(f"{file.name} has no column {missing[0]}")
        where = [header.index(name) for name in columns]
        last = max(where)
        yield from (tuple(map(row.__getitem__, where)) for row in rows if len(row) > last)


def _parts(file: Path, classes: list[str]) -> tuple[Counter, list[str]]:
    """Count images by (class, split), and list those to train on."""
    counts, training = Counter(), []
    several = bool(header := _header(file)) and "label" not in header
    columns = classes if several else ["label"]
    for name, split, *cells in _table(file, ("path", "split", *columns)):
        if several:
            counts.update((label, split) for label, cell in zip(classes, cells, strict=True)
                          if cell == "1")  # fmt: skip
        else:
            counts[cells[0], split] += 1
        if split == "train":
            training.append(name)
    return counts, training


def _header(file: Path) -> list[str]:
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        return next(csv.reader(lines), [])


def _answers(path: Path, split: str, classes: list[str]) -> Answers | None:
    file = path / "predictions" / f"{split}.safetensors"
    if not file.exists():
        return None
    try:
        tensors = load_file(file)
    except Exception as error:  # of the library's own kind
        raise ValueError(f"{file.name}: {error}") from error
    paths = [name for (name,) in _table(file.with_suffix(".csv"), ("path",))]
    labels, probabilities = tensors["labels"], tensors["probabilities"]
    n = len(labels)
    fits = labels.shape in ((n,), (n, len(classes)))
    if probabilities.shape != (n, len(classes)) or len(paths) != n or not fits:
        raise ValueError(f"{file.name} does not fit the classes or its table")
    low, high = (0, len(classes) - 1) if labels.ndim == 1 else (-1, 1)
    inside = not n or low <= labels.min() <= labels.max() <= high
    if not inside or not np.isfinite(probabilities).all():
        raise ValueError(f"{file.name} holds impossible numbers")
    return Answers(paths, labels.astype(np.int64), probabilities)
