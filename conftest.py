"""What every test and every example stands on: one thread, no network, settings put back."""

import os
import sys

import pytest

# torch reads these when a test imports it, and child processes inherit them
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep what polyak remembers between runs apart from whoever runs the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


def pytest_runtest_setup(item):
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(autouse=True)
def _as_before():
    """Undo what `machine.prepare` sets for a whole process; hypothesis refuses flushed numbers."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
        torch.set_deterministic_debug_mode("default")
        torch.set_num_threads(1)
