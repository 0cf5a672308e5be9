"""The built-in data: 1,797 handwritten digits of 8x8 pixels from scikit-learn, as PNG files."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from polyak import keys
from polyak.data.folder import list_folder
from polyak.data.listing import Listing
from polyak.errors import DiskError
from polyak.files import cache_folder

_TEST = 0.2


def list_digits() -> Listing:
    """List the digits, written once below $XDG_CACHE_HOME/polyak (or ~/.cache/polyak).

    A fifth of every class is test.

    Raises:
        DiskError: the cache folder cannot be written.

    Source: scikit-learn `load_digits`; E. Alpaydin, C. Kaynak, UCI repository, 1998.

    >>> found = list_digits()
    >>> len(found), int((found.splits == "test").sum()), len(found.classes)
    (1797, 359, 10)
    """
    cache = cache_folder()
    target = cache / "digits-1"  # the number changes when the files do
    if not target.is_dir():
        try:
            _make(cache, target)
        except OSError as error:
            raise DiskError(
                "cannot write the digits",
                where=str(target),
                why=error.strerror or str(error),
                then="set XDG_CACHE_HOME to a folder that can be written",
            ) from error
    return list_folder(target)


def _make(cache, target):
    cache.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".digits-", dir=cache))
    try:
        _write(temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first, with the same files
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
