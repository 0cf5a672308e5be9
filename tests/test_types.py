"""How much of the public surface has types, as an editor sees it: a share that may only rise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from house_rules import HOUSE, LISTS

FLOOR = LISTS / "types.txt"  # percent


@pytest.mark.slow
def test_the_share_of_typed_symbols_only_rises():
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(
        [*command, "--verifytypes", "polyak", "--ignoreexternal"],
        capture_output=True,
        text=True,
        cwd=HOUSE,
        # without its python first on the path pyright finds no torch
        env=os.environ | {"PYTHONPATH": str(HOUSE / "src"), "PATH": _path()},
    )
    found = json.loads(done.stdout)["typeCompleteness"]
    assert found["packageName"] == "polyak" and found["pyTypedPath"].startswith(str(HOUSE))
    share, floor = 100 * found["completenessScore"], float(FLOOR.read_text())
    assert share >= floor, "a symbol without a type came: pyright --verifytypes polyak names it"
    assert share < floor + 1 or floor == 100, (
        f"write {int(10 * share) / 10} into {FLOOR}: it may only rise"
    )


def _path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
