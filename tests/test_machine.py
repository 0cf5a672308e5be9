"""The machine as it is, as a container shows it, and as a probe that may die shows it."""

import json
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
from PIL import Image

from polyak import machine
from polyak.data.images import Images
from polyak.errors import UsageError

GB = 10**9


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """Show the module 8 cores, 64 GB of free memory, and control groups made of these files."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GB))
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: [*range(8)], raising=False)

    def show(files: dict, own: str = "") -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{text}\n")
        (tmp_path / "self").write_text(own)
        monkeypatch.setattr(machine, "_CGROUP", tmp_path)
        monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "self")

    return show


def test_description_is_json_and_names_versions():
    found = json.loads(json.dumps(machine.describe()))
    assert found["versions"]["polyak"] == "0.1.0"
    assert found["versions"]["torch"][0].isdigit()
    assert found["cpu"].strip()


def test_describing_does_not_import_torch():
    code = (
        "import sys; from polyak import machine; machine.describe(); print('torch' in sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "False"


def test_a_process_whose_torch_forbids_new_flags_is_set_up_for_a_gpu():
    code = (
        "import torch; torch.backends.disable_global_flags(); from polyak import machine; "
        "machine.prepare(1, 'cuda'); print(torch.get_deterministic_debug_mode())"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout.strip() == "1", child.stderr


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("150000 100000", 1), ("300000 100000", 3), ("20000 100000", 1)],
)
def test_cores_obey_the_quota(groups, quota, expected):
    groups({"cpu.max": quota})
    assert machine.cores() == expected


def test_cores_obey_the_older_quota_and_the_affinity(groups, monkeypatch):
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: [1, 3, 5], raising=False)
    older = {"cpu/cpu.cfs_quota_us": -1, "cpu/cpu.cfs_period_us": 100_000}
    groups(older)
    assert machine.cores() == 3
    groups(older | {"cpu/cpu.cfs_quota_us": 200_000})
    assert machine.cores() == 2


def test_without_affinity_all_cores_count(groups, monkeypatch):
    groups({})
    monkeypatch.delattr(psutil.Process, "cpu_affinity")  # as on macOS
    monkeypatch.setattr(psutil, "cpu_count", lambda: 5)
    assert machine.cores() == 5
    monkeypatch.setattr(psutil, "cpu_count", lambda: None)
    assert machine.cores() == 1


def two(folder: str, limit: object, used: object, files: int = 0) -> dict:
    """The memory files of a group, version 2."""
    stat = f"anon 1\ninactive_file {files}\nactive_file 9"
    names = ("memory.max", "memory.current", "memory.stat")
    return {f"{folder}{n}": text for n, text in zip(names, (limit, used, stat), strict=True)}


def one(folder: str, limit: object, used: object, files: int = 0) -> dict:
    """The same, version 1."""
    stat = f"inactive_file 3\ntotal_inactive_file {files}"
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
    named = zip(names, (limit, used, stat), strict=True)
    return {f"memory/{folder}{n}": text for n, text in named}


NO_LIMIT = 9223372036854771712  # what version 1 says
V1 = "9:name=systemd:/\n4:memory:/jobs/7\n1:cpu,cpuacct:/jobs/7\n0::/\n"


@pytest.mark.parametrize(
    ("files", "own", "free"),
    [
        ({}, "", 64),
        (two("", 5 * GB, 4 * GB), "", 1),
        (two("", "max", 4 * GB), "", 64),
        (two("", 5 * GB, 6 * GB), "0::/\n", 1 / GB),  # over its limit: next to nothing, not less
        (two("", 8 * GB, 7 * GB, files=3 * GB), "", 4),  # files that nobody uses are given back
        (two("jobs/7/", 9 * GB, 3 * GB) | two("", "max", 20 * GB), "0::/jobs/7\n", 6),
        (two("jobs/7/", 9 * GB, 3 * GB) | two("jobs/", 5 * GB, 3 * GB), "0::/jobs/7\n", 2),
        (two("jobs/8/", 9 * GB, 3 * GB), "0::/jobs/7\n", 64),  # somebody else's
        (two("", 9 * GB, 3 * GB), "0::/docker/abc\n", 6),  # a path that only the host has
        (two("", 9 * GB, 3 * GB), "0::/../../other\n", 6),
        (one("", 5 * GB, 4 * GB), "", 1),
        (one("", NO_LIMIT, 4 * GB), V1, 64),
        (one("", 8 * GB, 7 * GB, files=3 * GB), V1, 4),
        (one("jobs/7/", 9 * GB, 3 * GB) | one("", NO_LIMIT, 20 * GB), V1, 6),
        (one("jobs/7/", NO_LIMIT, 3 * GB) | one("jobs/", 5 * GB, 3 * GB), V1, 2),
        (one("", 9 * GB, 3 * GB), V1, 6),
        (two("", "?", "?"), "nonsense\n::\n", 64),
    ],
)
def test_memory_obeys_every_group_around_this_process(groups, files, own, free):
    groups(files, own)
    assert machine.memory() == round(free * GB)


@pytest.mark.parametrize(
    ("files", "own"),
    [
        ({"jobs/7/cpu.max": "300000 100000", "cpu.max": "max 100000"}, "0::/jobs/7\n"),
        ({"jobs/7/cpu.max": "700000 100000", "jobs/cpu.max": "350000 100000"}, "0::/jobs/7\n"),
        ({"cpu/jobs/7/cpu.cfs_quota_us": 300000, "cpu/jobs/7/cpu.cfs_period_us": 100000}, V1),
    ],
)
def test_cores_obey_every_group_around_this_process(groups, files, own):
    groups(files, own)
    assert machine.cores() == 3


def test_decoded_images_obey_the_container_too(groups, tmp_path):
    """Eight images of 300 bytes and a quarter of 4,000: three are kept."""
    for number in range(8):
        Image.new("RGB", (10, 10)).save(tmp_path / f"{number}.png")
    groups(one("jobs/7/", 9000, 5000), V1)
    files = [tmp_path / f"{number}.png" for number in range(8)]
    assert Images.open(files, threads=1).kept == 3


def test_a_system_that_says_nothing_is_taken_to_have_a_little(groups, monkeypatch):
    def refuse():
        raise FileNotFoundError("/proc/meminfo")

    groups({})
    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    assert machine.memory() == 4 << 30


@pytest.mark.parametrize("total", range(1, 33))
def test_threads_are_used_and_hardly_exceeded(total):
    here = machine.threads(total)
    assert here.compute >= 1 <= here.loader
    assert total <= here.compute + here.loader <= total + 1
    assert machine.threads(total, "cuda").loader == max(1, total - 1)


def test_threads_default_to_the_cores():
    assert machine.threads() == machine.threads(machine.cores())


def test_threads_below_one_are_refused():
    with pytest.raises(UsageError, match="1 or more"):
        machine.threads(0)


def test_prepare_flushes_denormals_and_repeats_itself():
    import torch

    machine.prepare(2)
    assert float(torch.tensor([1e-39]) * 0.5) == 0
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.get_num_threads() == 2


def test_prepare_does_not_wait_for_the_compiler():
    code = (
        "import sys, torch; from polyak import machine; machine.prepare(1)\n"
        "print('torch._inductor.config' in sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "False"


def test_device_is_chosen_or_refused_in_one_line():
    assert machine.device("auto") in ("cpu", "cuda")
    assert machine.device("cpu") == "cpu"
    with pytest.raises(UsageError, match="use --device auto") as caught:
        machine.device("abacus")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 64


def test_a_long_refusal_is_cut_to_its_first_line(monkeypatch):
    import torch

    def refuse(*_, **__):
        raise RuntimeError("no driver.\nInstall one.\n")

    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(UsageError, match=r"--device cuda: no driver\. Next"):
        machine.device("cuda")


def test_a_missing_gpu_is_one_line():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(UsageError, match="--device cuda"):
        machine.device("cuda")
