"""Whole processes in turns, and results as files: what the benchmarks have in common."""

import json
import subprocess
import time
from pathlib import Path


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Run a command to its end; give its seconds and the last line that it said."""
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return round(time.perf_counter() - began, 3), done.stdout.strip().rpartition("\n")[2]


def keep(results: dict, out: Path | None) -> None:
    """Print results, and write them where a file is named."""
    text = json.dumps(results, indent=1)
    print(text)
    if out:
        out.write_text(text + "\n")
