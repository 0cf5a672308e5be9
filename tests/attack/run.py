"""Attack readers with inputs from a generator, in forked workers: python -m attack.run.

An input is a function of (seed, number). A worker that dies or takes too long is told by the number
that it was at, and another goes on behind it. With --state FILE what is done is remembered.
"""

import argparse
import json
import os
import selectors
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from attack import files, images

CHUNK = 500  # inputs that are remembered together
FINE = ("used", "refused")


class Target(NamedTuple):
    """What is attacked: what an input is, (format, kind), what comes of it, what comes first."""

    describe: Callable[[int, int], tuple[str, str]]
    attack: Callable[[int, int], str]
    prepare: Callable[[], None] = lambda: None  # before workers are forked


class Outcome(NamedTuple):
    """What came of one input; of what must not be, `result` is neither used nor refused."""

    number: int
    format: str
    kind: str
    result: str


TARGETS = {
    "images": Target(images.describe, images.attack),
    "whole": Target(images.describe_whole, images.attack_whole),
    "files": Target(files.describe, files.attack, files.prepare),
}


def run(
    target: Target, seed: int, numbers: list[int], limit: float = 10, workers: int = 1
) -> Iterator[Outcome]:
    """Attack with some numbers; `limit`: seconds that one input may take."""
    with selectors.DefaultSelector() as waiting:

        def start(left: list[int]) -> None:
            if left:
                worker = _Worker(target, seed, left)
                waiting.register(worker.reader, selectors.EVENT_READ, worker)

        for i in range(workers):
            start(numbers[i::workers])
        while waiting.get_map():
            ready = [key.data for key, _ in waiting.select(limit / 10)]
            for worker in [key.data for key in waiting.get_map().values()]:
                found = worker.read() if worker in ready else []
                late = time.monotonic() - worker.since > limit
                if worker.ended or late:
                    waiting.unregister(worker.reader)
                    found += worker.end(f"hang: more than {limit} s" if late else "")
                    start(worker.left)
                yield from found


class _Worker:
    """A forked process that attacks with numbers until it is through, dead, or ended."""

    def __init__(self, target: Target, seed: int, numbers: list[int]):
        self.target, self.seed, self.left = target, seed, list(numbers)
        self.since, self.ended, self._rest = time.monotonic(), False, b""
        self.reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.reader)
                with os.fdopen(writer, "w", buffering=1) as out:
                    for number in numbers:
                        print(json.dumps(self._attacked(number)), file=out)
            finally:
                os._exit(0)
        os.close(writer)

    def _attacked(self, number: int) -> Outcome:
        about = self.target.describe(self.seed, number)
        try:
            return Outcome(number, *about, self.target.attack(self.seed, number))
        except Exception as error:
            return Outcome(number, *about, f"{type(error).__name__}: {error}")

    def read(self) -> list[Outcome]:
        """Take what the worker has said."""
        more = os.read(self.reader, 1 << 16)
        self.since, self.ended = time.monotonic(), not more
        *lines, self._rest = (self._rest + more).split(b"\n")
        del self.left[: len(lines)]
        return [Outcome(*json.loads(line)) for line in lines]

    def end(self, why: str) -> list[Outcome]:
        """Wait for the worker, which is through or dead, or end it for a reason."""
        if why:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.reader)
        if not self.left:
            return []
        number = self.left.pop(0)
        about = self.target.describe(self.seed, number)
        return [Outcome(number, *about, why or f"crash: {status}")]


def campaign(
    target: Target, seed: int, count: int, state: Path | None = None, workers: int = 1
) -> list[Outcome]:
    """Attack with the numbers below `count`; give all outcomes, with those that `state` keeps."""
    kept = state.read_text().splitlines() if state and state.exists() else []
    outcomes = [Outcome(*json.loads(line)) for line in kept if line.endswith("]")]
    done = {one.number for one in outcomes}
    left = [number for number in range(count) if number not in done]
    target.prepare()
    for start in range(0, len(left), CHUNK):
        found = list(run(target, seed, left[start : start + CHUNK], workers=workers))
        outcomes += found
        if state:
            with state.open("a") as file:
                file.writelines(json.dumps(one) + "\n" for one in found)
        if sys.stderr.isatty():
            print(f"\r{len(outcomes):,} of {count:,}", end="", file=sys.stderr)
    return sorted(outcomes)


def bad(outcomes: list[Outcome]) -> list[Outcome]:
    """Keep what must not be: crashes, hangs, exceptions, lost data taken in silence."""
    return [one for one in outcomes if one.result not in FINE]


def table(outcomes: list[Outcome]) -> str:
    """Count used, refused and bad by format and kind, and list the bad ones."""
    counts = Counter(
        (one.format, one.kind, one.result if one.result in FINE else "bad") for one in outcomes
    )
    lines = [f"{'format':<8}{'what was done':<16}{'used':>8}{'refused':>9}{'bad':>6}"]
    for name, kind in sorted({key[:2] for key in counts}):
        used, refused, others = (counts[name, kind, result] for result in (*FINE, "bad"))
        lines.append(f"{name:<8}{kind:<16}{used:>8,}{refused:>9,}{others:>6,}")
    listed = [f"{one.number}: {one.format}, {one.kind}: {one.result}" for one in bad(outcomes)]
    return "\n".join([*lines, *listed, f"{len(outcomes):,} inputs, {len(listed)} bad"])


def main() -> int:
    """Run one campaign from the command line; exit code 1 where something bad was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=TARGETS, default="images")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, help="keep outcomes here, and go on where it ends")
    asked = parser.parse_args()
    began = time.monotonic()
    target = TARGETS[asked.target]
    outcomes = campaign(target, asked.seed, asked.count, asked.state, asked.workers)
    print(f"{table(outcomes)}, {time.monotonic() - began:.0f} s")
    return int(bool(bad(outcomes)))


if __name__ == "__main__":
    sys.exit(main())
