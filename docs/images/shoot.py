"""Photograph the upper part of a run's page for README, in a headless Chromium.

polyak train digits --epochs 4 --widths 16 32 32 --ensemble snapshots --name digits
python docs/images/shoot.py runs/page
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "tests"))

from browser import opened  # noqa: E402


def main(run: str) -> None:
    """Open the page, save what a window of 1120 by 1440 pixels shows."""
    file = HERE / "report.png"
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as browser:
        browser.open(Path(run) / "report.html", width=1120, height=1440)
        browser.see(file)
    with Image.open(file) as shot:
        small = shot.convert("RGB").quantize(96)
    small.save(file, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
