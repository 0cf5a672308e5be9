"""The built-in data: 1,797 handwritten digits of 8x8 pixels from scikit-learn, as PNG files."""

import atexit
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from polyak import keys
from polyak.data.sources.folder import list_folder
from polyak.data.sources.listing import Listing
from polyak.errors import DiskError
from polyak.files import cache_folder, workspace

_TEST = 0.2


def list_digits() -> Listing:
    """List the digits, written once below $XDG_CACHE_HOME/polyak (or ~/.cache/polyak).

    A fifth of every class is test.

    Where nothing can be kept they lie in a temporary folder while this process lives, told.

    Raises:
        DiskError: that cannot be written either.

    Source: scikit-learn `load_digits`; E. Alpaydin, C. Kaynak, UCI repository, 1998.

    >>> found = list_digits()
    >>> len(found), int((found.splits == "test").sum()), len(found.classes)
    (1797, 359, 10)
    """
    target = cache_folder() / "digits-1"  # the number changes when the files do
    try:
        if not target.is_dir():
            _make(target)
        return list_folder(target)
    except OSError as error:
        found = list_folder(_passing())
        why = f"{target}: {error.strerror or error}"
        line = f"the digits lie in a temporary folder: nothing can be kept in {why}"
        return replace(found, warnings=[*found.warnings, line])


def _make(target):
    target.parent.mkdir(parents=True, exist_ok=True)
    with workspace(target) as temporary:
        _write(temporary)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first, with the same files
                raise


@cache
def _passing() -> Path:
    """Write the digits to a folder that goes with this process."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="polyak-digits-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _write(folder)
    except OSError as error:
        raise DiskError(
            "cannot write the digits",
            where=tempfile.gettempdir(),
            why=error.strerror or str(error),
            then="set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return folder


def _write(folder):
    from PIL import Image
    from sklearn.datasets import load_digits

    levels, labels = load_digits(return_X_y=True)
    pixels = np.round(np.reshape(levels, (-1, 8, 8)) * (255 / 16)).astype(np.uint8)
    test = _chosen(labels)
    for i, label in enumerate(labels):
        path = folder / ("test" if test[i] else "train") / str(label) / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i]).save(path)


def _chosen(labels):
    draw = keys.uniform("digits test part", np.arange(len(labels)))
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        test[members[np.argsort(draw[members])[: round(_TEST * len(members))]]] = True
    return test
