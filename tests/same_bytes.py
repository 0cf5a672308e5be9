"""Train eight small recipes at an earlier commit and here: weights and predictions byte by byte.

Usage: python tests/same_bytes.py [--ref COMMIT] [RECIPE ...]; exits 1 where something differs.
Both sides have the same interpreter, processor, threads and data, and a cache folder of their own.
Only the command line is called, which both have: `polyak train DATA --option value`.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

HOUSE = Path(__file__).parent.parent
BEFORE = "before-house"  # the tag that a rebuilt house is compared with
NETWORK = "resnet10t"  # the smallest of timm's that has batch norm and four stages
CLASSES, TRAIN, TEST = 3, 20, 6
SMALL = ("--model", "compact", "--widths", "8", "16", "--size", "16", "--batch-size", "32")
REGULARIZED = (
    *("--dropout", "0.2", "--dropout-where", "blocks"),
    *("--mix", "cutmix", "--average", "0.1", "0.3"),
)
TUNED = ("--weights", "source/resnet10t.safetensors", "--size", "64", "--batch-size", "16")


class Recipe(NamedTuple):
    """Options of `polyak train`, and the recipe whose run directory they name, if any."""

    data: str
    options: tuple[str, ...]
    after: str | None = None


# nothing in here may depend on the clock: epochs and widths are given, precision is not probed
RECIPES = {
    "scratch": Recipe("folder", (*SMALL, "--epochs", "4")),
    "linear": Recipe("folder", (*TUNED, "--transfer", "linear")),
    "stages": Recipe("folder", (*TUNED, "--transfer", "stages")),
    "few": Recipe("folder", (*TUNED, "--transfer", "few", "--epochs", "2")),
    "snapshots": Recipe(
        "digits", (*SMALL, "--ensemble", "snapshots", "--cycles", "3", "--epochs", "3")
    ),
    "independent": Recipe("digits", (*SMALL, "--ensemble", "independent:2", "--epochs", "2")),
    "distilled": Recipe(
        "digits", (*SMALL, "--distill", "runs/independent", "--epochs", "2"), "independent"
    ),
    "regularized": Recipe(
        "folder",
        (*SMALL, *REGULARIZED, "--epochs", "4"),
    ),
}


CHILDREN: list[subprocess.Popen] = []


class Side(NamedTuple):
    """A checkout, and the folder that its runs are written to."""

    name: str
    checkout: Path
    folder: Path

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this interpreter with this checkout's polyak, in this side's folder."""
        own = {"PYTHONPATH": str(self.checkout / "src"), "XDG_CACHE_HOME": str(self.folder / "c")}
        one = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        command, pipe = [sys.executable, *arguments], subprocess.PIPE
        where = {"cwd": self.folder, "env": os.environ | own | one}
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **where) as child:
            CHILDREN.append(child)
            out, err = child.communicate()
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    def train(self, name: str) -> "Outcome":
        """Train a recipe; its run directory is runs/NAME."""
        began, recipe = time.monotonic(), RECIPES[name]
        exact = ("--threads", "1", "--precision", "float32", "--device", "cpu", "--name", name)
        done = self.python("-m", "polyak", "train", recipe.data, *recipe.options, *exact)
        failure = ""
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            failure = f"exit code {done.returncode} {self.name}: {said[-1] if said else ''}"
        return Outcome(failure, time.monotonic() - began)


class Outcome(NamedTuple):
    """How a run ended: empty, or how it failed; seconds."""

    failure: str
    seconds: float


def main(arguments: list[str] | None = None) -> int:
    """Print a line a recipe; give 1 where something differs, 64 for a mistake in the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=", ".join(RECIPES))
    parser.add_argument("--ref", default=BEFORE, help=f"the earlier commit; default {BEFORE}")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.recipes) - set(RECIPES):
        print(f"no such recipe: {', '.join(sorted(unknown))}. There are: {', '.join(RECIPES)}")
        return 64
    wanted = asked.recipes or list(RECIPES)
    needed = [n for n in RECIPES if n in wanted or any(RECIPES[w].after == n for w in wanted)]
    with tempfile.TemporaryDirectory(prefix="same-bytes-") as scratch:
        with earlier(asked.ref, Path(scratch) / "checkout") as checkout:
            sides = [
                Side("there", checkout, Path(scratch) / "there"),
                Side("here", HOUSE, Path(scratch) / "here"),
            ]
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # after what `with` undoes
            supply(sides)
            return report(asked.ref, sides, needed)


@contextmanager
def earlier(ref: str, path: Path) -> Iterator[Path]:
    """Check a commit out beside the working tree for as long as it is needed."""
    git = ("git", "-C", str(HOUSE), "worktree")
    added = subprocess.run([*git, "add", "--detach", path, ref], capture_output=True, text=True)
    if added.returncode:
        sys.exit(f"cannot check out {ref}: {added.stderr.strip().splitlines()[-1]}")
    try:
        yield path
    finally:
        subprocess.run([*git, "remove", "--force", path], check=True)


def supply(sides: list[Side]) -> None:
    """Put the same images and weights into both folders; make sure whose polyak is imported."""
    from safetensors.torch import save_file

    tensors = weights()
    for side in sides:
        draw(side.folder / "folder")
        (side.folder / "source").mkdir()
        save_file(tensors, side.folder / "source" / f"{NETWORK}.safetensors")
        found = side.python("-c", "import polyak; print(polyak.__file__)").stdout.strip()
        if not Path(found).is_relative_to(side.checkout):
            sys.exit(f"{side.name}: polyak is imported from {found}, not from {side.checkout}")


def draw(folder: Path) -> None:
    """Write a folder of images of 64 to 96 pixels that can be learnt: a square of the class."""
    for split, most in (("train", TRAIN), ("test", TEST)):
        for label in range(CLASSES):
            (folder / split / f"class {label}").mkdir(parents=True)
            for number in range(most):
                random = np.random.default_rng([label, number, most])
                height, width = random.integers(64, 97, 2)
                image = random.integers(0, 160, (height, width, 3), dtype=np.uint8)
                top, left = random.integers(0, 32, 2)
                image[top : top + 32, left : left + 32, label] = 250
                name = f"{number}.png" if number % 5 == 0 else f"{number}.jpg"
                Image.fromarray(image).save(folder / split / f"class {label}" / name)


def weights() -> dict:
    """Draw seeded weights of a small network, with batch-norm statistics of the images' colours."""
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model(NETWORK, num_classes=5)
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(16, 3, 64, 64))
    return network.state_dict()


def report(ref: str, sides: list[Side], names: list[str]) -> int:
    """Train recipe after recipe, both sides at a time, and say what differs."""
    print(f"{'recipe':<12} {'there':>6} {'here':>6}  here, compared with {ref}")
    code = 0
    with ThreadPoolExecutor(len(sides)) as pool:
        for name in names:
            try:
                there, here = pool.map(lambda side, name=name: side.train(name), sides)
            except BaseException:  # stopped: nobody waits for them any more
                for child in CHILDREN:
                    child.kill()
                raise
            failed = "; ".join(one.failure for one in (there, here) if one.failure)
            runs = [side.folder / "runs" / name for side in sides]
            different, what = (True, failed) if failed else compared(*runs)
            code = max(code, int(different))
            seconds = f"{there.seconds:4.0f} s {here.seconds:4.0f} s"
            print(f"{name:<12} {seconds}  {what}", flush=True)
    return code


def compared(there: Path, here: Path) -> tuple[bool, str]:
    """Compare the weights and predictions of two run directories: (whether they differ, how)."""
    before, after = (results(path) for path in (there, here))
    if not before:
        return True, "nothing to compare: no weights and no predictions"
    for lacking, side in ((before.keys() - after, "only there"), (after.keys() - before, "new")):
        if lacking:
            return True, f"{side}: {', '.join(sorted(lacking)[:3])} ({len(lacking)} in all)"
    different = [name for name in before if before[name] != after[name]]
    if not different:
        return False, f"same: {len(before)} tensors and tables"
    first = different[0]
    return True, f"{first}: {gap(before[first], after[first])} ({len(different)} of {len(before)})"


def results(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Read what must not change: name -> (kind, bytes) of every tensor and table of a run."""
    from safetensors import safe_open

    files = [*folder.rglob("model.safetensors"), *folder.rglob("predictions/*")]
    found = {}
    for file in sorted(files):
        name = str(file.relative_to(folder))
        if file.suffix != ".safetensors":
            found[name] = ("text", file.read_bytes())
            continue
        with safe_open(file, framework="np") as tensors:
            for key in sorted(tensors.keys()):
                value = tensors.get_tensor(key)
                found[f"{name}: {key}"] = (f"{value.dtype} {value.shape}", value.tobytes())
    return found


def gap(before: tuple[str, bytes], after: tuple[str, bytes]) -> str:
    """Say how far two tensors are apart, or how they differ in kind."""
    (kind, old), (other, new) = before, after
    if kind != other:
        return f"{kind} became {other}"
    if kind == "text":
        rows = zip(old.splitlines(), new.splitlines(), strict=False)
        return f"{sum(a != b for a, b in rows)} of {len(old.splitlines())} lines differ"
    dtype = kind.split(" ")[0]
    a, b = (np.frombuffer(data, dtype).astype(np.float64) for data in (old, new))
    return f"largest difference {np.abs(a - b).max():.3g} where values reach {np.abs(a).max():.3g}"


if __name__ == "__main__":
    sys.exit(main())
