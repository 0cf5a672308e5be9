"""The page of `polyak clean`: the likeliest issues of each kind, with thumbnails."""

from pathlib import Path

import numpy as np

from polyak.clean.findings import Findings
from polyak.clean.issues import KINDS, LEFT_OUT
from polyak.files import write_atomic
from polyak.report import tiles
from polyak.report.render import render

MOST = 48  # images of a kind on the page; the table has them all


def draw_issues(file: Path, found: Findings, command: str, language: str = "en") -> Path:
    """Draw what was found as one page that asks nothing of any network.

    Args:
        file: where it goes.
        found: by `polyak.jobs.clean`.
        command: that trains without what is to be left out.
        language: `en` or `ko`, of the fixed texts.

    Raises:
        UsageError: no such language.
        DiskError: the page cannot be written.
    """
    rows = {path: number for number, path in enumerate(found.data.paths)}
    galleries = []
    for kind in KINDS:
        some = [one for one in found.issues if one.kind == kind][:MOST]
        if some:
            at = np.array([rows[one.path] for one in some])
            shots = tiles.thumbnails(found.images.take(at))
            galleries.append((kind, list(zip(some, shots, strict=True))))
    page = render(
        "clean.html", language, name=str(found.data.root), images=len(found.data),
        accuracy=found.accuracy, counts=list(found.counts().items()), left_out=LEFT_OUT,
        galleries=galleries, command=command,
    )  # fmt: skip
    write_atomic(file, page)
    return file
