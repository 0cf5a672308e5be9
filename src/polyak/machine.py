"""What this machine is and how to use it: cores, memory, device, precision, threads.

torch is imported only by what needs it, so that describing a machine costs nothing.
"""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from polyak.errors import UsageError

_PACKAGES = ("polyak", "torch", "torchvision", "timm", "numba", "numpy", "pillow", "simplejpeg")


class Threads(NamedTuple):
    """How many threads compute and how many load pictures.

    >>> Threads(compute=2, loader=1)
    Threads(compute=2, loader=1)
    """

    compute: int
    loader: int


class Precision(NamedTuple):
    """The number format to train in, `float32` or `bfloat16`, and the reason in one line.

    >>> Precision("float32", "asked for").name
    'float32'
    """

    name: str
    reason: str


def cpu_name() -> str:
    """Name the processor as its maker does.

    >>> len(cpu_name()) > 0
    True
    """
    return _cpu_field("model name") or platform.processor() or platform.machine() or "unknown"


def cores() -> int:
    """Count the cores this process may use: affinity and the container's quota, not the board's.

    >>> 1 <= cores() <= (os.cpu_count() or 1)
    True
    """
    allowed = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    return max(1, min(allowed, int(_quota() or allowed)))


def memory() -> int:
    """Count the bytes of memory still available to this process, the container's limit included.

    >>> memory() > 0
    True
    """
    free = [_meminfo("MemAvailable") or _meminfo("MemTotal") or 4 << 30]
    for limit_file, used_file in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit, used = _read(_CGROUP / limit_file), _read(_CGROUP / used_file)
        if limit.isdigit() and used.isdigit():
            free.append(int(limit) - int(used))
    return max(1, min(free))


def describe() -> dict[str, Any]:
    """Describe machine and software as `env.json` records them.

    >>> sorted(describe())
    ['cores', 'cpu', 'memory', 'python', 'system', 'versions']
    """
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "memory": memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def threads(total: int | None = None, device: str = "cpu") -> Threads:
    """Split threads between computing and loading; together they may pass `total` by one.

    A processor that trains is given every core, for loading small pictures takes a few percent of
    one; from 4 cores up a quarter loads. Beside a GPU everything but one core loads.

    Args:
        total: threads to use in all; `None` takes every core this process may use.
        device: where the network computes, as torch names it.

    Raises:
        UsageError: `total` is below 1.

    >>> threads(2), threads(8), threads(8, "cuda")
    (Threads(compute=2, loader=1), Threads(compute=6, loader=2), Threads(compute=1, loader=7))
    """
    total = cores() if total is None else total
    if total < 1:
        raise UsageError("--threads must be 1 or more", why=f"got {total}", then="leave it out")
    if not device.startswith("cpu"):
        return Threads(compute=1, loader=max(1, total - 1))
    loader = max(1, total // 4)
    return Threads(compute=total - loader if total >= 4 else total, loader=loader)


def prepare(compute: int, device: str = "cpu") -> None:
    """Set torch up: threads, denormal numbers flushed, the same sums twice.

    Args:
        compute: threads of one operation. Results on a processor depend on it: record it.
        device: where the network computes; for CUDA call this before its first operation.

    >>> prepare(1)
    >>> import torch
    >>> torch.get_num_threads(), bool(torch.tensor([1e-40]) * 1 == 0)
    (1, True)
    """
    import torch

    torch.set_num_threads(compute)
    torch.set_flush_denormal(True)  # they slow trained convolutions up to 40 times
    # not use_deterministic_algorithms: it imports the compiler, seconds, and sets no more than this
    torch.set_deterministic_debug_mode("warn")
    # would fill every new tensor: costs time, guards nothing here
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore
    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def device(wanted: str = "auto") -> str:
    """Choose where to compute: `auto` takes a CUDA device when there is one.

    Raises:
        UsageError: torch does not know the device or this machine lacks it.

    >>> device("cpu")
    'cpu'
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).strip().splitlines()[0].rstrip(".")
        raise UsageError(
            "cannot compute there", where=f"--device {wanted}", why=why, then="use --device auto"
        ) from error
    return wanted


def precision(wanted: str = "auto", device: str = "cpu") -> Precision:
    """Choose the number format to train in, and say why.

    On CUDA `auto` is bfloat16 where the device has it. On a processor it is float32, unless a child
    process shows that bfloat16 convolutions work and are at least 1.2 times faster: some processors
    list the instructions and die of them.

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
    return probe()


def probe(code: str | None = None, seconds: float = 60) -> Precision:
    """Time a training step of convolutions in both formats, in a child process that may die.

    Args:
        code: Python to run in the child instead; it prints float32 and bfloat16 seconds.
        seconds: how long the child may take.

    >>> probe("print(3.0, 2.0)")
    Precision(name='bfloat16', reason='bfloat16 convolutions are 1.5 times as fast as float32')
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
    return Precision("bfloat16" if ratio >= 1.2 else "float32", reason)


_PROBE = """
import time, torch
torch.set_flush_denormal(True)
net = torch.nn.Sequential(
    torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.GELU(), torch.nn.Conv2d(64, 64, 3, padding=1)
).to(memory_format=torch.channels_last)
x = torch.randn(32, 32, 32, 32).to(memory_format=torch.channels_last)
def step(half):
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = net(x).float().square().mean()
    loss.backward()
    assert loss.isfinite()
    return time.perf_counter() - start
step(False), step(True)
full, half = step(False), step(True)
if half < full:  # else it is decided, and emulated products are slow
    full = min(full, *(step(False) for _ in range(4)))
    half = min(half, *(step(True) for _ in range(4)))
print(full, half)
"""
_CGROUP = Path("/sys/fs/cgroup")


def _has_bfloat16() -> bool:
    flags = _cpu_field("flags")
    if not flags:  # not Linux on x86: only trying tells
        return True
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def _quota() -> float | None:
    words = _read(_CGROUP / "cpu.max").split()
    if not words:
        words = [_read(_CGROUP / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    try:
        quota, period = (float(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _meminfo(field: str) -> int:
    for line in _read(Path("/proc/meminfo")).splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024
    return 0


def _cpu_field(field: str) -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == field:
            return rest.strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"
