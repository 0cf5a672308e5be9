"""What is shipped: a wheel, installed outside of the checkout, has all its parts and trains."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
SOURCE = HOUSE / "src"


def run(command, **how):
    """Run a command without this checkout in sight; give what it prints."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, capture_output=True, text=True, env=clean, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel as an installation from source would."""
    pip = [sys.executable, "-m", "pip"]
    fetch = [*pip, "download", "--quiet", "--no-deps", "hatchling"]
    there = subprocess.run(fetch, cwd=tmp_path_factory.mktemp("fetched"), capture_output=True)
    if there.returncode:
        pytest.skip("hatchling, which builds the wheel, cannot be downloaded")
    folder = tmp_path_factory.mktemp("wheel")
    run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, HOUSE])
    (file,) = folder.glob("polyak-*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """Make an environment that has the wheel, and what it depends on from the one of the tests."""
    folder = tmp_path_factory.mktemp("outside") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    python = folder / "bin" / "python"
    run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel])
    (site,) = folder.glob("lib/python*/site-packages")
    # its own .pth files are not read from there: an editable polyak stays out
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = {
        file for file in SOURCE.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }
    assert held == {str(file.relative_to(SOURCE)) for file in files}
    assert {"polyak/py.typed", "polyak/report/templates/page.html"} <= held


@pytest.mark.slow
def test_an_installed_polyak_trains_and_predicts(python, tmp_path):
    where = run([python, "-c", "import polyak; print(polyak.__file__)"], cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(python.parents[1])
    polyak = [python.with_name("polyak")]
    small = ("--model", "compact", "--widths", "8", "8", "--epochs", "1", "--threads", "1")
    run([*polyak, "train", "digits", *small, "--name", "digits"], cwd=tmp_path)
    assert "<html" in (tmp_path / "runs/digits/report.html").read_text()
    figures = json.loads(
        run([*polyak, "evaluate", "runs/digits", "digits", "--json"], cwd=tmp_path)
    )
    assert figures["n"] == 359
    run([*polyak, "race", "--out", "race"], cwd=tmp_path)
    assert "<html" in (tmp_path / "race/race.html").read_text()
