"""The machine as it is, as a container shows it, and as a probe that may die shows it."""

import json
import os
import subprocess
import sys

import pytest

from polyak import machine
from polyak.errors import UsageError


def fake(monkeypatch, tmp_path, files):
    """Show the module a control group folder with these files in it."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)


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


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("150000 100000", 1), ("300000 100000", 3), ("20000 100000", 1)],
)
def test_cores_obey_the_quota(monkeypatch, tmp_path, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    fake(monkeypatch, tmp_path, {"cpu.max": quota})
    assert machine.cores() == expected


def test_cores_obey_the_older_quota_and_the_affinity(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 5}, raising=False)
    older = {"cpu/cpu.cfs_quota_us": -1, "cpu/cpu.cfs_period_us": 100_000}
    fake(monkeypatch, tmp_path, older)
    assert machine.cores() == 3
    fake(monkeypatch, tmp_path, older | {"cpu/cpu.cfs_quota_us": 200_000})
    assert machine.cores() == 2


def test_memory_obeys_the_container(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    alone = machine.memory()
    fake(monkeypatch, tmp_path, {"memory.max": 5_000_000, "memory.current": 4_000_000})
    assert machine.memory() == 1_000_000 < alone
    fake(monkeypatch, tmp_path, {"memory.max": "max"})
    assert machine.memory() > 1_000_000_000


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
