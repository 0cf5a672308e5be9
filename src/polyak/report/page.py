"""One self-contained page: what a run was, how good its model is, and where it fails."""

import shlex
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from polyak.errors import PolyakError, shown
from polyak.files import write_atomic
from polyak.optim.schedules import cycle_ends
from polyak.report import charts, tiles
from polyak.report.findings import MATRIX, Findings, Mistake, findings
from polyak.report.gather import Facts, gather
from polyak.report.words import speaker

SAMPLES = 8  # training pictures shown as they are and as the network saw them
LISTED = 200  # files left out that are named on the page


def report(run: str | Path, language: str = "en") -> Path:
    """Write `report.html` into a run directory, from what lies there and the pictures it names.

    Args:
        run: a run directory, finished or not.
        language: `en` or `ko`, of the fixed texts.

    Returns:
        The page: one file that asks nothing of any network.

    Raises:
        RefusedError: this is no run directory, or it is damaged.
        UsageError: no such language.
        DiskError: the page cannot be written.

    >>> import tempfile
    >>> from polyak.train import make, train
    >>> recipe = make(data="digits", epochs=1, widths=(8, 8), out=tempfile.mkdtemp(), name="run")
    >>> _ = list(train(recipe))
    >>> report(f"{recipe.out}/run").name
    'report.html'
    """
    facts = gather(Path(run))
    text = render("page.html", language, **content(facts, language))
    file = Path(run) / "report.html"
    write_atomic(file, text)
    return file


def render(template: str, language: str, **values: Any) -> str:
    """Fill a template; every value from outside is escaped."""
    words = speaker(language)
    pages = Environment(
        loader=PackageLoader("polyak.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters |= {"percent": percent, "shown": shown}
    return pages.get_template(template).render(t=words, language=language, **values)


def content(facts: Facts, language: str) -> dict[str, Any]:
    """Collect all that the page of one run shows."""
    words = speaker(language)
    found, end = findings(facts), facts.end
    root = root_of(str(facts.config.get("data", "")))
    ends = snapshots(facts)
    return {
        "facts": facts,
        "found": found,
        "end": end,
        "table": end.get("table", []),
        "probed": [] if end.get("table") else _probed(end),
        "course": Markup(charts.course(facts.validations, ends, words))
        if facts.validations
        else "",
        "ends": ends,
        "trust": Markup(charts.reliability(found.before, found.after, words)) if found else "",
        "matrix": _matrix(found, facts.classes) if found else None,
        "surest": _gallery(root, found.surest if found else []),
        "suspects": _gallery(root, found.suspects if found else []),
        "seen": _seen(facts, root),
        "counts": _counts(facts),
        "quarantine": facts.quarantine[:LISTED],
        "spent": _spent(facts),
        "again": again(facts),
    }


def snapshots(facts: Facts) -> list[float]:
    """Give the epochs at which a snapshot run took its members."""
    config = facts.config
    if config.get("ensemble") != "snapshots" or not facts.validations:
        return []
    ramp, last = config.get("warm_up") or 0.0, facts.validations[-1]
    epochs = last["epoch"] / max(last["progress"], 1e-9)
    ends = cycle_ends(int(config.get("cycles") or 1), float(config.get("cycle_growth") or 1))
    return [(ramp + (1 - ramp) * end) * epochs for end in ends]


def percent(value: float) -> str:
    """Write a share for people; a share of nothing is a hyphen.

    >>> percent(0.98765), percent(float("nan"))
    ('98.77 %', '-')
    """
    return "-" if value != value else f"{value:.2%}".replace("%", " %")


def root_of(data: str) -> Path | None:
    """Find the folder that a run's pictures are named from; None where it is gone."""
    if data == "digits":
        from polyak.data.digits import list_digits

        return list_digits().root
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


def _probed(end: dict) -> list[tuple[str, dict]]:
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


def _course(facts: Facts, ends: list[float], words) -> str:
    rows = facts.validations
    return Markup(charts.course(rows, ends, words)) if rows else ""


def _gallery(root: Path | None, mistakes: list[Mistake]) -> list[tuple[Mistake, str]]:
    inside = [m for m in mistakes if _below(m.path)]
    shots = tiles.thumbnails(root, [m.path for m in inside]) if root else [""] * len(inside)
    return list(zip(inside, shots, strict=True))


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
        return tiles.seen(
            root, chosen, positions, policy, (size, size), int(facts.config.get("seed", 0))
        )
    except PolyakError:  # a policy of another version: the page does without
        return []


def _counts(facts: Facts) -> list[tuple[str, list[int]]]:
    return [
        (name, [facts.counts[(name, split)] for split in ("train", "val", "test")])
        for name in facts.classes
    ]


def _spent(facts: Facts) -> dict[str, float]:
    """Split the seconds of a run: waiting for data, computing, all the rest."""
    seconds, pictures = facts.end.get("seconds"), facts.end.get("images_per_second")
    if not seconds or not pictures or not facts.validations:
        return {}
    steps = facts.validations[-1]["step"]
    trained = steps * float(facts.config.get("batch_size") or 1) / pictures
    waited = trained * facts.end.get("wait_share", 0.0)
    rest = max(0.0, seconds - trained)
    return {"waiting for data": waited, "training": trained - waited, "all": seconds, "rest": rest}
