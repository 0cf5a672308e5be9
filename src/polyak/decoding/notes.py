"""What other libraries say while they read a file: kept from the screen, and told by file."""

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_here = threading.local()


@contextmanager
def noting() -> Iterator[list[str]]:
    """Collect what Pillow and libtiff say while this thread reads one file, each line once.

    Pillow's warnings only come here inside of `quiet`.

    >>> with quiet(), noting() as notes:
    ...     note("Corrupt EXIF data")
    ...     note("Corrupt EXIF data")
    >>> notes
    ['Corrupt EXIF data']
    """
    before, notes = getattr(_here, "notes", None), []
    _here.notes = notes
    try:
        yield notes
    finally:
        _here.notes = before


def note(text: str) -> None:
    """Keep a line for whoever is `noting` in this thread."""
    notes = getattr(_here, "notes", None)
    line = " ".join(text.split())[:200]
    if notes is not None and line not in notes:
        notes.append(line)


@contextmanager
def quiet() -> Iterator[None]:
    """Take Pillow's warnings off the screen while many files are read, to whoever is `noting`.

    >>> with quiet():
    ...     pass
    """
    # set once around the threads: filters are one for the whole process
    with warnings.catch_warnings():
        warnings.filterwarnings("always", module=r"PIL\.")
        shown = warnings.showwarning

        def heard(message, category, filename, *place, **options):
            if Path(filename).parent.name == "PIL":
                note(str(message))
            else:
                shown(message, category, filename, *place, **options)

        warnings.showwarning = heard
        yield


@cache
def hush() -> None:
    """Take libtiff's errors, which it writes to the screen, to whoever is `noting`, and Pillow's
    log off the screen.

    Where libtiff's functions are not to be found by name, it goes on writing.
    """
    from PIL import _imaging

    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(_on_error)


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
def _on_error(module, text, _):
    # what belongs behind the first % comes in a form that Python cannot read
    parts = (part.decode(errors="replace").split("%")[0] for part in (module, text) if part)
    note(": ".join(part.rstrip(" ,(:") for part in parts if part and part != _NO_FILE))


_NO_FILE = "tempfile.tif"  # what Pillow tells libtiff that it reads
