"""Two versions of polyak in turns: start-up, a step of the loop, whole commands.

    python benchmarks/bench_versions.py --before before-house --out benchmarks/results/versions.json

Every round runs the same command from both checkouts, in another order than the round before;
a step's cost is read from each version's own bench_loop.py.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from whole import keep, timed

HOUSE = Path(__file__).parent.parent
sys.path.insert(0, str(HOUSE / "tests"))

from polyak import machine  # noqa: E402
from same_bytes import earlier  # noqa: E402

POLYAK = [sys.executable, "-m", "polyak"]
RUN = ["--threads", "2", "--seed", "0", "--out"]


def commands(folder: str) -> dict[str, list[str]]:
    """What is run, by the name of its row."""
    return {
        "polyak --help": [*POLYAK, "--help"],
        "import polyak": [sys.executable, "-c", "import polyak"],
        "polyak train digits --epochs 10": [*POLYAK, "train", "digits", "--epochs", "10", *RUN,
                                            folder],
        "polyak train digits, snapshots": [*POLYAK, "train", "digits", "--epochs", "8",
                                           "--ensemble", "snapshots", *RUN, folder],
    }  # fmt: skip


def step(checkout: Path, environment: dict[str, str]) -> float:
    """Seconds that the loop adds to a bare step, times a bare step: polyak / bare."""
    command = [sys.executable, str(checkout / "benchmarks/bench_loop.py"), "--rounds", "3"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)["plain"]["polyak / bare"]["median"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--before", default="before-house")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--out", type=Path)
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with earlier(options.before, Path(folder) / "before") as before:
            rows = measure({"before": before, "now": HOUSE}, options.rounds, folder)
    facts = {"machine": machine.describe(), "before": options.before, "rounds": options.rounds}
    keep(facts | {"rows": rows}, options.out)


def measure(checkouts: dict[str, Path], rounds: int, folder: str) -> dict[str, dict]:
    """Time every command from every checkout; the first round only warms caches."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds + 1):
        for side in list(checkouts)[:: 1 if number % 2 else -1]:
            environment = os.environ | {"PYTHONPATH": str(checkouts[side] / "src")}
            runs = tempfile.mkdtemp(dir=folder)
            found = {
                name: timed(command, environment)[0] for name, command in commands(runs).items()
            }
            found["a step of the loop, times a bare one"] = step(checkouts[side], environment)
            for name, value in found.items():
                if number:
                    seconds.setdefault(name, {}).setdefault(side, []).append(value)
    return {name: row(sides) for name, sides in seconds.items()}


def row(sides: dict[str, list[float]]) -> dict:
    """Medians of both sides, and the ratio now / before pair by pair."""
    ratios = [now / before for now, before in zip(sides["now"], sides["before"], strict=True)]
    medians = {side: round(statistics.median(values), 4) for side, values in sides.items()}
    spread = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
    return medians | {"now / before": {name: round(value, 3) for name, value in spread.items()}}


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
