"""Kill runs of every kind again and again, resume them, and compare with runs that were left alone.

Usage: python tests/kills.py [--kills 300] [--seed 0] [--kinds KIND ...] [--state FOLDER]. With
--state FOLDER the runs and what came of them stay there, and another call goes on behind the last.
Lives are forked from a process that has imported and compiled everything, so that they die in
training, saving and evaluating; those of two ranks are started anew, and die while importing, too.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file

from jobs import listed, results
from polyak import cli, keys
from same_bytes import NETWORK, draw, weights

LIVES = 4  # that a run is killed in, at most, before it may end
SMALL = ("--model", "compact", "--widths", "8", "8", "--size", "16", "--batch-size", "16")
TUNED = ("--weights", "source/resnet10t.safetensors", "--size", "64", "--batch-size", "16")
KINDS = {
    "plain": (*SMALL, "--epochs", "6"),
    "snapshots": (*SMALL, "--epochs", "6", "--ensemble", "snapshots", "--cycles", "3"),
    "branches": (*SMALL, "--epochs", "6", "--ensemble", "branches", "--optimizer", "muon"),
    "independent": (*SMALL, "--epochs", "2", "--ensemble", "independent:2"),
    "folds": (*SMALL, "--epochs", "2", "--folds", "3"),
    "probe": (*TUNED, "--transfer", "stages"),
    "few": (*TUNED, "--transfer", "few", "--epochs", "2"),
    "regularized": (
        *SMALL, "--epochs", "6", "--dropout", "0.2", "--dropout-where", "blocks", "--mix", "cutmix",
        "--average", "0.1", "0.3",
    ),
    "distilled": (*SMALL, "--epochs", "3", "--distill", "runs/independent-whole"),
    "ranks": (*SMALL, "--epochs", "6"),
}  # fmt: skip
AFTER = {"distilled": "independent"}  # whose whole run must be there


class Trial(NamedTuple):
    """What came of one run: how often it was killed, at which shares of a life, what was wrong."""

    kind: str
    number: int
    kills: int
    shares: list[float]
    wrong: str


def command(kind: str, name: str) -> list[str]:
    """Give the command line of a run; after a kill it is typed again, as it is."""
    exact = ("--threads", "1", "--precision", "float32", "--device", "cpu", "--save-every", "0")
    return ["train", "folder", *KINDS[kind], *exact, "--val", "0.25", "--name", name, "--resume"]


def live(kind: str, name: str, seconds: float | None = None) -> bool:
    """Run a command; kill it after some seconds. Say whether it was killed.

    Raises:
        RuntimeError: it ended otherwise than well.
    """
    start = _ranks if kind == "ranks" else _forked
    child = start(command(kind, name), Path(f"cache-{name}").absolute())
    if seconds is not None:
        time.sleep(seconds)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:  # it is through
            pass
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{name} ended with {code}")
    return code != 0


def _forked(typed: list[str], cache: Path) -> int:
    child = os.fork()
    if child:
        os.setpgid(child, child)
        return child
    os.environ["XDG_CACHE_HOME"] = str(cache)
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    code = 70
    try:
        code = cli.main(typed)
    finally:
        os._exit(code)


def _ranks(typed: list[str], cache: Path) -> int:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    own = {"XDG_CACHE_HOME": str(cache)}
    return subprocess.Popen(
        [*run, "-m", "polyak", *typed], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | own, start_new_session=True,
    ).pid  # fmt: skip


def whole(kind: str) -> float:
    """Run a kind to its end, twice; give the seconds of a life whose process is warm."""
    name = f"{kind}-whole"
    for _ in range(2):
        for folder in (Path("runs") / name, Path(f"cache-{name}")):
            shutil.rmtree(folder, ignore_errors=True)
        began = time.monotonic()
        live(kind, name)
    return time.monotonic() - began


def trial(kind: str, number: int, seed: int, seconds: float, most: int) -> Trial:
    """Kill a run at random moments of its lives, let it end, and compare it."""
    name, shares = f"{kind}-{number}", []
    runs = Path("runs")
    wrong = ""
    try:
        for life in range(min(LIVES, most)):
            share = float(keys.uniform("kill", seed, number, life))
            if live(kind, name, share * seconds):
                shares.append(round(share, 2))
        live(kind, name)
        if results(runs / name) != results(runs / f"{kind}-whole"):
            wrong = "other bytes"
        elif left := listed(runs / name) ^ listed(runs / f"{kind}-whole"):
            wrong = f"only one of the two has {sorted(left)[:5]}"
    except (RuntimeError, OSError) as error:
        wrong = str(error)
    if not wrong:
        shutil.rmtree(runs / name)
    shutil.rmtree(f"cache-{name}", ignore_errors=True)
    return Trial(kind, number, len(shares), shares, wrong)


def supply() -> None:
    """Draw the images and the weights that runs start from, where they are not there yet."""
    if Path("source").is_dir():
        return
    draw(Path("folder"))
    Path("source").mkdir()
    save_file(weights(), f"source/{NETWORK}.safetensors")


def campaign(kinds: list[str], kills: int, seed: int) -> list[Trial]:
    """Kill so many times in all, each kind as often; trials that are written down count."""
    file = Path("trials.jsonl")
    lines = file.read_text().splitlines() if file.exists() else []
    trials = [Trial(*json.loads(line)) for line in lines]
    for place, kind in enumerate(kinds):
        wanted = (place + 1) * kills // len(kinds) - place * kills // len(kinds)
        done = [one for one in trials if one.kind == kind]
        died, number = sum(one.kills for one in done), len(done)
        if died >= wanted:
            continue
        if (before := AFTER.get(kind)) and not (Path("runs") / f"{before}-whole").is_dir():
            whole(before)
        seconds = whole(kind)
        while died < wanted:
            one = trial(kind, number, seed, seconds, wanted - died)
            number, died = number + 1, died + one.kills
            trials.append(one)
            with file.open("a") as out:
                out.write(json.dumps(one) + "\n")
            print(f"{kind}: {died} of {wanted} kills, {number} runs {one.wrong}", flush=True)
    return trials


def main() -> int:
    """Print a line a run and the sum; 1 where a run was not the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--state", type=Path, help="keep runs here, and go on where they end")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        place = asked.state or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        os.chdir(place)
        supply()
        trials = campaign(asked.kinds, asked.kills, asked.seed)
        os.chdir("/")
    wrong = [one for one in trials if one.wrong]
    for one in wrong:
        print(f"{one.kind}-{one.number}, killed at {one.shares} of a life: {one.wrong}")
    killed = sum(one.kills for one in trials)
    print(f"{killed} kills in {len(trials)} runs, {len(trials) - len(wrong)} the same")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
