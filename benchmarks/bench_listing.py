"""Memory and time to list 1,000,000 images: a folder of empty files, or a CSV.

    python benchmarks/bench_listing.py [--n 1000000] [--out benchmarks/results/listing.json]

The peak of the whole process is reported (Python, numpy and the listing), measured in a child
process that only lists; the promise is under 300 MB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from polyak import machine

CHILD = """
import resource, sys, time
begin = time.perf_counter()
from polyak.data.sources import find
ready = time.perf_counter()
n = len(find(sys.argv[1]))
seconds = time.perf_counter() - ready
print(n, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measure(source):
    run = [sys.executable, "-c", CHILD, str(source)]
    n, seconds, megabytes = subprocess.run(
        run, check=True, capture_output=True, text=True
    ).stdout.split()
    return {
        "pictures": int(n),
        "seconds": round(float(seconds), 2),
        "peak_MB": round(float(megabytes)),
    }


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--n", type=int, default=1_000_000)
    options.add_argument("--classes", type=int, default=1000)
    options.add_argument("--out", type=Path)
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = [f"class_{i % options.classes:04}/picture_{i:08}.jpg" for i in range(options.n)]
        table = Path(folder) / "data.csv"
        table.write_text("path,label\n" + "".join(f"{n},{n.split('/')[0]}\n" for n in names))
        for i in range(options.classes):
            (Path(folder) / f"class_{i:04}").mkdir()
        for name in names:
            os.close(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY))
        results = {
            "machine": machine.describe(),
            "csv": measure(table),
            "folder": measure(folder),
        }
    print(json.dumps(results, indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
