"""What a training run would meet here: the machine, and the data, without training."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from polyak import machine, precision
from polyak.data.dataset import Dataset
from polyak.data.decodable import decodable
from polyak.data.near_duplicates import grouped
from polyak.data.scan import scan
from polyak.data.sources import ClassesFrom, find
from polyak.decoding.unreadable import PIXEL_CAP
from polyak.errors import DiskError, counted, shown
from polyak.files import check_writable

_LISTED = 5  # classes, left-out files and warnings shown; config.yaml and the CSVs list them all


def doctor(
    data: str | None = None,
    out: str = "runs",
    classes_from: ClassesFrom = "auto",
    pixel_cap: int = PIXEL_CAP,
) -> Iterator[str]:
    """Yield what a person should know before a run, a line at a time: machine first, then data.

    Every image is decoded once, so that what is counted as used can be used.

    Args:
        data: folder, CSV or `digits`; `None` looks at the machine alone.
        out: the folder that runs would be written to.
        classes_from: which folder names the class, `top` or `leaf`.
        pixel_cap: the most pixels that an image may have.

    Raises:
        DataError: the data cannot be trained on; the machine's lines have been given before.

    >>> lines = list(doctor("digits"))
    >>> [line for line in lines if line.startswith(("found", "classes"))]
    ['found      1,797 = 1,797 used + 0 left out', 'classes    10: 174 to 183 images each']
    """
    yield from _machine()
    yield _disk(Path(out))
    if data:
        began = time.perf_counter()
        found = scan(find(data, classes_from), machine.cores(), pixel_cap)
        scanned = time.perf_counter()
        whole = decodable(found, machine.cores())
        rates = found.found / (scanned - began), len(found) / (time.perf_counter() - scanned)
        whole = grouped(whole, machine.cores())
        yield from _data(data, whole, rates)
        from polyak.jobs.foretell import foretell  # with torch, which the lines above do without

        yield from (_line(name, shown(text)) for name, text in foretell(data, whole))


def _machine() -> Iterator[str]:
    about = machine.describe()
    yield _line("machine", f"{about['cpu']}, {counted(about['cores'], 'core')}, {about['system']}")
    yield _line("memory", f"{_bytes(about['memory'])} free")
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    yield _line("software", f"Python {about['python']}, {versions}")
    device = machine.device("auto")
    yield _line("device", device)
    split = machine.threads(device=device)
    yield _line("threads", f"{split.compute} compute, {split.loader} load")
    number = precision.precision("auto", device)
    yield _line("precision", f"{number.name}: {number.reason}")
    yield from _slower()


def _slower() -> Iterator[str]:
    """Say what other libraries do not let polyak do as fast as it can."""
    from polyak.networks import zoo
    from polyak.optim import threads

    if why := zoo.obstacle():
        yield _line("timm", f"imported with torch's compiler, which takes seconds: {why}")
    if why := threads.obstacle():
        yield _line("optimizer", f"steps on threads of its own, which is slower: {why}")


def _disk(out: Path) -> str:
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    try:
        check_writable(there)
    except DiskError as error:
        return _line("disk", str(error))
    return _line("disk", f"{_bytes(shutil.disk_usage(there).free)} free for {shown(out)}")


def _data(name: str, data: Dataset, rates: tuple[float, float]) -> Iterator[str]:
    yield _line("data", f"{shown(name)}, {shown(data.root)}")
    left_out = len(data.quarantine)
    yield _line("found", f"{data.found:,} = {len(data):,} used + {left_out:,} left out")
    for path, reason in data.quarantine[:_LISTED]:
        yield _line("left out", f"{shown(path)}: {shown(reason)}")
    if left_out > _LISTED:
        yield _line("left out", f"and {left_out - _LISTED:,} more; `polyak train` lists them all")
    yield from _classes(data)
    parts = Counter(str(part) for part in data.splits)
    words = (f"{parts[part]:,} {part or 'not split yet'}" for part in _PARTS if parts[part])
    yield _line("splits", ", ".join(words))
    yield from _sizes(data)
    reading, decoding = rates
    yield _line("reading", f"{counted(round(reading), 'file', ',')} a second")
    yield _line("decoding", f"{counted(round(decoding), 'image', ',')} a second at full size")
    for warning in (*data.warnings, *filter(None, [data.imbalance()])):
        yield _line("note", warning)


_PARTS = ("train", "val", "test", "")


def _classes(data: Dataset) -> Iterator[str]:
    counts = data.counts()
    few, many = counts.min(), counts.max()
    yield _line("classes", f"{len(counts)}: {few:,} to {counted(many, 'image', ',')} each")
    if many >= 2 * few:
        rare = np.argsort(counts, kind="stable")[:_LISTED]
        words = (f"{shown(data.classes[i])} {counts[i]:,}" for i in rare)
        yield _line("rarest", ", ".join(words))


def _sizes(data: Dataset) -> Iterator[str]:
    order = np.argsort(data.sizes.prod(axis=1), kind="stable")
    small, middle, large = (data.sizes[order[i]].tolist() for i in (0, len(order) // 2, -1))
    if small == large:
        yield _line("sizes", f"{small[0]} x {small[1]} pixels, all")
    else:
        words = (f"{height} x {width}" for height, width in (small, middle, large))
        yield _line("sizes", "smallest {}, median {}, largest {} pixels".format(*words))
    decoded, free = int(data.sizes.prod(axis=1).sum()) * 3, machine.memory()
    verdict = "fit" if decoded <= free / 2 else "do not fit"
    yield _line("decoded", f"{_bytes(decoded)} at full size; {verdict} into half the free memory")


def _line(name: str, text: str) -> str:
    return f"{name:<10} {text}"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
