import os
from pathlib import Path

import pytest

import samples


@pytest.fixture
def scene():
    return samples.scene


@pytest.fixture
def encoded():
    return samples.encoded


@pytest.fixture
def photographs():
    """Real photographs of several sizes: paths."""
    folder = Path(os.environ.get("POLYAK_DATA") or Path.home() / ".cache" / "polyak-data")
    found = sorted((folder / "hymenoptera").rglob("*.jpg"))
    if not found:
        pytest.skip(f"no photographs in {folder}/hymenoptera (set POLYAK_DATA)")
    return found
