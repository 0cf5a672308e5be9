"""One self-contained page: what a run was, how good its model is, and where it fails."""

import shlex
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from markupsafe import Markup

from polyak.data.images import Images
from polyak.errors import PolyakError
from polyak.files import read_text, write_atomic
from polyak.networks.origin import Origin
from polyak.report import charts, planned, tiles
from polyak.report.course import rates, snapshots
from polyak.report.findings import MATRIX, Findings, Mistake, findings
from polyak.report.gather import Facts, gather
from polyak.report.labels import label_findings
from polyak.report.render import render
from polyak.report.translations import speaker

SAMPLES = 8  # training images shown as they are and as the network saw them
LISTED = 200  # files left out that are named on the page


def report(run: str | Path, language: str = "en", plan: str | Path | None = None) -> Path:
    """Write `report.html` into a run directory, from what lies there and the images it names.

    Args:
        run: a run directory, finished or not.
        language: `en` or `ko`, of the fixed texts.
        plan: a plan.json of `polyak plan` that belongs to this run; it is kept in the directory.

    Returns:
        The page: one file that asks nothing of any network.

    Raises:
        RefusedError: this is no run directory or no plan, or it is damaged.
        UsageError: no such language.
        DiskError: the page cannot be written.

    >>> import tempfile
    >>> from polyak.jobs import stream
    >>> from polyak.recipe import make
    >>> recipe = make(data="digits", epochs=1, widths=(8, 8), out=tempfile.mkdtemp(), name="run")
    >>> _ = list(stream(recipe))
    >>> report(f"{recipe.out}/run").name
    'report.html'
    """
    facts = gather(Path(run))
    if plan is not None:
        facts = replace(facts, plan=planned.read_plan(Path(plan)))
        write_atomic(facts.path / "plan.json", read_text(Path(plan)))
    text = render("page.html", language, **content(facts, language))
    file = Path(run) / "report.html"
    write_atomic(file, text)
    return file


def content(facts: Facts, language: str) -> dict[str, Any]:
    """Collect all that the page of one run shows."""
    words = speaker(language)
    found, labels, end = findings(facts), label_findings(facts), facts.end
    trust = charts.reliability(found.before, found.after, words) if found else ""
    if labels is not None:
        trust = charts.reliability(None, labels.trust, words)
    root = root_of(str(facts.config.get("data", "")))
    ends = snapshots(facts)
    return {
        "facts": facts,
        "found": found,
        "labels": labels,
        "end": end,
        "table": end.get("table", []),
        "uneven": _uneven(end.get("table", [])),
        "folds": end.get("folds"),
        "probed": [] if end.get("table") else _probed(end),
        "course": _course(facts, ends, words),
        "ends": ends,
        "trust": Markup(trust),
        "matrix": _matrix(found, facts.classes) if found else None,
        "classes": _classes(found, facts.classes) if found else [],
        "cautions": _lines(end.get("cautions")),
        "surest": _gallery(facts, root, found.surest if found else []),
        "suspects": _gallery(facts, root, found.suspects if found else []),
        "seen": _seen(facts, root),
        "counts": _counts(facts),
        "quarantine": facts.quarantine[:LISTED],
        "spent": _spent(facts),
        "again": again(facts),
        "origins": origins(facts),
        **planned.content(facts.plan, language),
    }


def root_of(data: str) -> Path | None:
    """Find the folder that a run's images are named from; None where it is gone."""
    if data == "digits":
        from polyak.data.sources.digits import list_digits

        return Path(str(list_digits().source.root))
    path = Path(data)
    folder = path.parent if path.is_file() else path
    return folder if data and folder.is_dir() else None


def again(facts: Facts) -> str:
    """Write the command that repeats a run.

    >>> from collections import Counter
    >>> asked = {"asked": {"data": "my photos", "epochs": 3.0, "mean": [0.5, 0.5, 0.5]}}
    >>> again(Facts(Path("."), {}, "", asked, [], []))
    "polyak train 'my photos' --epochs 3.0 --mean 0.5 0.5 0.5"
    """
    asked = dict(facts.environment.get("asked", {}))
    words = ["polyak", "train", str(asked.pop("data", ""))]
    for name, value in asked.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *(str(one) for one in values)]
    return shlex.join(words)


def origins(facts: Facts) -> list[Origin]:
    """List where the weights come from that a run started with.

    >>> about = {"weights": {"name": "a", "source": "b", "licence": "mit"}, "more_weights": [3]}
    >>> [one.licence for one in origins(Facts(Path("."), {}, "", about, [], []))]
    ['mit']
    """
    more = facts.environment.get("more_weights", [])
    found = [facts.environment.get("weights"), *(more if isinstance(more, list) else [])]
    return [one for each in found[:LISTED] if (one := Origin.read(each)) is not None]


def _uneven(table: list[dict[str, Any]]) -> bool:
    """Tell whether every way to end a run says how it does where each class counts alike."""
    measured = [row for row in table if not row.get("refused")]
    return bool(measured) and all(row.get("balanced") and row.get("f1") for row in measured)


def _lines(value: object) -> list[str]:
    return [str(line) for line in value] if isinstance(value, list) else []


def _probed(end: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """List the linear classifiers that cross-validation told apart."""
    found = end.get("candidates", {})
    return [(name, one) for name, one in found.items() if {"l2", "accuracy", "nll"} <= one.keys()]


def _matrix(found: Findings, names: list[str]) -> list[tuple] | None:
    if len(names) > MATRIX:
        return None
    shares = found.matrix / np.maximum(found.matrix.sum(axis=1, keepdims=True), 1)
    return [
        (name, list(zip(row.tolist(), share.round(3).tolist(), strict=True)))
        for name, row, share in zip(names, found.matrix, shares, strict=True)
    ]


def _classes(found: Findings, names: list[str]) -> list[tuple]:
    """List (name, recall, precision, images) of each class; of many, the worst recall first."""
    by_class = found.classes
    order = np.arange(len(names))
    if len(names) > MATRIX:
        order = np.argsort(by_class.recall, kind="stable")  # classes without images come last
    columns = (
        column[order].tolist() for column in (by_class.recall, by_class.precision, by_class.support)
    )
    return list(zip((names[i] for i in order), *columns, strict=True))


def _course(facts: Facts, ends: list[float], words) -> str:
    rows = facts.validations
    return Markup(charts.course(rows, rates(facts), ends, words)) if rows else ""


def _gallery(facts: Facts, root: Path | None, mistakes: list[Mistake]) -> list[tuple[Mistake, str]]:
    inside = [m for m in mistakes if _below(m.path)]
    shots = [""] * len(inside)
    if root and inside:
        shots = tiles.thumbnails(_opened(facts, root, [m.path for m in inside]))
    return list(zip(inside, shots, strict=True))


def _opened(facts: Facts, root: Path, names: list[str]) -> Images:
    """Open images to be decoded as the run did."""
    files, bits = [root / name for name in names], facts.start.get("bits", 16)
    return Images.open(files, budget=0, pixel_cap=facts.pixel_cap, bits=bits)


def _below(name: str) -> bool:
    """Tell whether a name stays below its folder: a run directory may come from anybody."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _seen(facts: Facts, root: Path | None) -> list[tuple[str, str]]:
    names, size = facts.training, facts.config.get("size")
    if root is None or not names or not isinstance(size, int):
        return []
    positions = np.linspace(0, len(names) - 1, min(SAMPLES, len(names))).astype(int).tolist()
    positions = [i for i in positions if _below(names[i])]
    chosen, policy = [names[i] for i in positions], str(facts.config.get("augment", "none"))
    try:
        images, seed = _opened(facts, root, chosen), int(facts.config.get("seed", 0))
        return tiles.seen(images, positions, policy, (size, size), seed)
    except PolyakError:  # a policy of another version: the page does without
        return []


def _counts(facts: Facts) -> list[tuple[str, list[int]]]:
    return [
        (name, [facts.counts[(name, split)] for split in ("train", "val", "test")])
        for name in facts.classes
    ]


def _spent(facts: Facts) -> dict[str, float]:
    """Split the seconds of a run: waiting for data, computing, all the rest; and the loader's."""
    spent, seconds = facts.end.get("spent"), facts.end.get("seconds")
    if not spent or not seconds:
        return {}
    rest = max(0.0, seconds - spent["wait"] - spent["compute"])
    return {**spent, "rest": rest, "all": spent["wait"] + spent["compute"] + rest}
