"""Kill training again and again, resume it, and compare its bytes with a run that was left alone.

Usage: python killer.py DATA OUT KILLS [SEED]. Lives are forked from a process that has imported and
compiled everything, so that the time in which they can die is training, saving and evaluating.
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch

from polyak import cli, keys

sys.path.insert(0, str(Path(__file__).parents[1]))
from jobs import listed, results


def arguments(data: str, out: Path, name: str) -> list[str]:
    """Give the command line of the job; after a kill it is typed again, as it is."""
    return [
        "train", data, "--model", "compact", "--widths", "8", "8", "--epochs", "6", "--batch-size",
        "16", "--size", "16", "--threads", "1", "--save-every", "0", "--val", "0.25",
        "--out", str(out), "--name", name, "--resume",
    ]  # fmt: skip


def live(command: list[str], seconds: float | None) -> int:
    """Run a command in a child; kill it after some seconds. Return its wait status."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 70
        try:
            code = cli.main(command)
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def main(data: str, out: Path, kills: int, seed: int) -> None:
    """Print the number of kills, or fail with the difference."""
    torch.set_num_threads(1)
    assert cli.main(arguments(data, out, "compiled")) == 0
    began = time.monotonic()
    assert live(arguments(data, out, "whole"), None) == 0
    duration = time.monotonic() - began
    want, done, trial, died = results(out / "whole"), 0, 0, []
    while done < kills:
        trial += 1
        command = arguments(data, out, f"trial-{trial}")
        for life in range(4):
            if done == kills:
                break
            moment = float(keys.uniform("kill", seed, trial, life)) * duration
            if live(command, moment) == signal.SIGKILL:
                done += 1
                died.append(round(moment / duration, 2))
        assert live(command, None) == 0, f"trial {trial}, seed {seed}: could not be resumed"
        got = results(out / f"trial-{trial}")
        assert got == want, f"trial {trial}, seed {seed}: {got} is not {want}; kills at {died}"
        left = listed(out / f"trial-{trial}") ^ listed(out / "whole")
        assert not left, f"trial {trial}, seed {seed}: only one of the two has {left}"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    print(f"{done} kills in {trial} runs of {duration:.1f} s, at these shares of a life: {died}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int([*sys.argv, "0"][4]))
