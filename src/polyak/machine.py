"""What this machine is and how to use it: cores, memory, device, threads.

torch is imported only by what needs it, so that describing a machine costs nothing.
"""

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from polyak.errors import UsageError

_PACKAGES = ("polyak", "torch", "torchvision", "timm", "numba", "numpy", "pillow", "simplejpeg")


class Threads(NamedTuple):
    """How many threads compute and how many load images.

    >>> Threads(compute=2, loader=1)
    Threads(compute=2, loader=1)
    """

    compute: int
    loader: int


def cpu_name() -> str:
    """Name the processor as its maker does.

    >>> len(cpu_name()) > 0
    True
    """
    return cpu_field("model name") or platform.processor() or platform.machine() or "unknown"


def cores() -> int:
    """Count the cores this process may use: affinity and the container's quota, not the board's.

    >>> 1 <= cores() <= (os.cpu_count() or 1)
    True
    """
    process: Any = psutil.Process()  # macOS has no affinity
    allowed = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else 0
    allowed = allowed or psutil.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas()])))


def memory() -> int:
    """Count the bytes of memory still available to this process, the container's limit included.

    What files fill and the system would give back at once counts as available.

    >>> memory() > 0
    True
    """
    try:
        free = [psutil.virtual_memory().available]
    except OSError:  # a sandbox without /proc
        free = [_UNKNOWN]
    for group in _groups("memory"):
        for most, taken, unused_files in _MEMORY:
            limit, used = _number(group / most), _number(group / taken)
            if limit is not None and used is not None:
                free.append(limit - used + _statistic(group, unused_files))
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

    A processor that trains is given every core, for loading small images takes a few percent of
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
        # that it is deterministic follows from the above; some libraries forbid to set it at all
        if torch.backends.cudnn.benchmark:
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


_UNKNOWN = 4 << 30  # bytes taken to be there where nobody says
_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
# of control groups, version 2 and version 1: limit, used, what of it is of files nobody uses now
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _groups(controller: str) -> list[Path]:
    """List the control groups this process is in, version 2 and version 1, each up to its root.

    The limits of all of them hold. What lies above a container's own cannot be seen, or has no
    folder here.
    """
    own = {"": "", controller: ""}  # version 2 has no name for its only hierarchy
    for line in _read(_OWN_GROUPS).splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        own |= {name: path.strip("/") for name in names.split(",") if name in own}
    found: list[Path] = []
    for name, path in own.items():
        inner = _CGROUP / name / (path if ".." not in path else "")
        found += [inner, *inner.parents[: len(inner.relative_to(_CGROUP / name).parts)]]
    return found


def _quotas() -> Iterator[float]:
    for group in _groups("cpu"):
        words = _read(group / "cpu.max").split()
        words = words or [_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        try:
            quota, period = (float(word) for word in words)
        except ValueError:  # "max", or no such file
            continue
        if quota > 0 and period > 0:
            yield quota / period


def _statistic(group: Path, name: str) -> int:
    for line in _read(group / "memory.stat").splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return 0


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text.isdigit() else None


def cpu_field(field: str) -> str:
    """Read what Linux says of the first processor, "" where it says nothing.

    >>> cpu_field("no such field")
    ''
    """
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
