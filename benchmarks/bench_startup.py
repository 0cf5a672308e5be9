"""How long `polyak --help` takes, the whole process, beside an empty Python.

python benchmarks/bench_startup.py --rounds 20 --out benchmarks/results/startup.json
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from whole import keep

from polyak import machine

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "polyak --help": [sys.executable, "-m", "polyak", "--help"],
    "polyak train --help": [sys.executable, "-m", "polyak", "train", "--help"],
}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--out", type=Path)
    options = options.parse_args()
    seconds = {name: [] for name in COMMANDS}
    for _ in range(options.rounds):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    results = {
        "machine": machine.describe(),
        "rounds": options.rounds,
        "seconds": {
            name: {"median": round(statistics.median(s), 3), "min": round(min(s), 3),
                   "max": round(max(s), 3)}
            for name, s in seconds.items()
        },
    }  # fmt: skip
    keep(results, options.out)


if __name__ == "__main__":
    main()
