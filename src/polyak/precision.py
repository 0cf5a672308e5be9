"""The number format to train in, as a probe that may die finds it, once for each processor."""

import json
import subprocess
import sys
from importlib import metadata
from typing import NamedTuple

from polyak import files, machine
from polyak.errors import PolyakError, UsageError

WORTHWHILE = 2.0  # times as fast, on a processor


class Precision(NamedTuple):
    """The number format to train in, `float32` or `bfloat16`, and the reason in one line.

    >>> Precision("float32", "asked for").name
    'float32'
    """

    name: str
    reason: str


def precision(wanted: str = "auto", device: str = "cpu") -> Precision:
    """Choose the number format to train in, and say why.

    On CUDA `auto` is bfloat16 where the device has it. On a processor it is float32, unless a child
    process shows that bfloat16 convolutions work and are at least twice as fast: some processors
    list the instructions and die of them, and it costs accuracy (docs/log.md). What the child
    showed is kept in the user's cache folder: the answer does not change from run to run.

    Args:
        wanted: `auto`, `float32` or `bfloat16`.
        device: where the network computes.

    Raises:
        UsageError: another name.

    >>> precision("float32").name
    'float32'
    """
    if wanted in ("float32", "bfloat16"):
        return Precision(wanted, "asked for")
    if wanted != "auto":
        raise UsageError(
            "no such precision", where=f"--precision {wanted}", then="use auto, float32 or bfloat16"
        )
    if device.startswith("cuda"):
        import torch

        fit = torch.cuda.is_bf16_supported(including_emulation=False)
        return (
            Precision("bfloat16", "the device computes it natively")
            if fit
            else Precision("float32", "the device has no bfloat16")
        )
    if not device.startswith("cpu"):
        return Precision("float32", f"bfloat16 is not tried on {device}")
    if not _has_bfloat16():
        return Precision("float32", "the processor has no bfloat16 instructions")
    return _remembered()


def probe(code: str | None = None, seconds: float = 60) -> Precision:
    """Time a training step of convolutions in both formats, in a child process that may die.

    Args:
        code: Python to run in the child instead; it prints float32 and bfloat16 seconds.
        seconds: how long the child may take.

    >>> probe("print(3.0, 1.0)")
    Precision(name='bfloat16', reason='bfloat16 convolutions are 3.0 times as fast as float32')
    >>> probe("import os; os.kill(os.getpid(), 4)").reason
    'bfloat16 convolutions ended the probe with signal 4'
    """
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE if code is None else code],
            capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Precision("float32", f"bfloat16 convolutions took longer than {seconds:g} s to try")
    if child.returncode < 0:
        reason = f"bfloat16 convolutions ended the probe with signal {-child.returncode}"
        return Precision("float32", reason)
    try:
        full, half = (float(word) for word in child.stdout.split()[-2:])
        ratio = full / half
    except (ValueError, ZeroDivisionError):
        return Precision("float32", "bfloat16 convolutions failed in the probe")
    reason = f"bfloat16 convolutions are {ratio:.1f} times as fast as float32"
    return Precision("bfloat16" if ratio >= WORTHWHILE else "float32", reason)


_PROBE = """
import time, torch
torch.set_num_threads(1)  # and processor time: what else the machine does must not decide
torch.set_flush_denormal(True)
net = torch.nn.Sequential(
    torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.GELU(), torch.nn.Conv2d(64, 64, 3, padding=1)
).to(memory_format=torch.channels_last)
x = torch.randn(32, 32, 32, 32).to(memory_format=torch.channels_last)
def step(half):
    start = time.thread_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = net(x).float().square().mean()
    loss.backward()
    assert loss.isfinite()
    return time.thread_time() - start
step(False), step(True)
full, half = step(False), step(True)
if half < 2 * full:  # else it is decided: emulated products are slow
    pairs = [(step(False), step(True)) for _ in range(4)]
    full, half = (min(times) for times in zip(*pairs))
print(full, half)
"""


def _has_bfloat16() -> bool:
    flags = machine.cpu_field("flags")
    if not flags:  # not Linux on x86: only trying tells
        return True
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def _remembered() -> Precision:
    """Give what the probe said before on this processor with this torch, else ask and keep it."""
    key = f"{machine.cpu_name()}, torch {metadata.version('torch')}"
    file = files.cache_folder() / "precision.json"
    try:
        known = files.read_json(file)
        name, reason = known[key]
        if name in ("float32", "bfloat16") and isinstance(reason, str):
            return Precision(name, reason)
    except (OSError, ValueError, KeyError, TypeError):
        known = {}
    found = probe()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        known = known if isinstance(known, dict) else {}
        files.write_atomic(file, json.dumps({**known, key: found}, indent=1))
    except (OSError, PolyakError):
        pass  # a cache that cannot be kept costs the next run a probe
    return found
