"""Errors that a person can act on: one line, and an exit code that scripts can rely on."""

import difflib
import unicodedata
from collections.abc import Mapping, Sequence


class PolyakError(Exception):
    """Say in one line what failed, where, why, what was kept, and what to type next.

    Args:
        what: what failed, in plain words.
        where: the file, class, option or batch that it failed at.
        why: the cause.
        kept: what is safe on disk.
        then: what to do or type next.

    >>> print(DataError("cannot use it", where="cats.csv", why="no column 'label'", then="add it"))
    cannot use it: cats.csv: no column 'label'. Next: add it
    >>> DataError.exit_code
    65
    """

    exit_code: int = 70

    def __init__(
        self, what: str, *, where: str = "", why: str = "", kept: str = "", then: str = ""
    ):
        self.what = what
        self.where = where
        self.why = why
        self.kept = kept
        self.then = then
        line = ": ".join(shown(part) for part in (what, where, why) if str(part))
        for name, part in (("Kept", kept), ("Next", then)):
            if part:
                line += f"{'' if line.endswith('?') else '.'} {name}: {shown(part)}"
        super().__init__(line)


class UsageError(PolyakError):
    """The command, an option or a recipe is wrong (exit code 64).

    >>> UsageError.exit_code
    64
    """

    exit_code = 64


class DataError(PolyakError):
    """The data cannot be trained on (exit code 65).

    >>> DataError.exit_code
    65
    """

    exit_code = 65


class DivergedError(PolyakError):
    """Training met a number that is not finite (exit code 66).

    >>> DivergedError.exit_code
    66
    """

    exit_code = 66


class BusyError(PolyakError):
    """Another process owns the run directory (exit code 73).

    >>> BusyError.exit_code
    73
    """

    exit_code = 73


class DiskError(PolyakError):
    """The disk refused a write (exit code 74).

    >>> DiskError.exit_code
    74
    """

    exit_code = 74


class RefusedError(PolyakError):
    """A model or checkpoint is damaged, foreign or hostile (exit code 76).

    >>> RefusedError.exit_code
    76
    """

    exit_code = 76


class Stopped(PolyakError):
    """A signal stopped the run after its state was saved (exit code 128 + signal).

    >>> Stopped("stopped", signal=15).exit_code
    143
    """

    def __init__(self, what: str, *, signal: int, kept: str = "", then: str = ""):
        super().__init__(what, kept=kept, then=then)
        self.exit_code: int = 128 + signal


def memory_error(error: Exception) -> Exception:
    """Turn a refusal of memory, by whatever library, into one line; anything else stays as it is.

    >>> str(memory_error(MemoryError()))[:61]
    'the memory of this machine does not suffice: MemoryError. Nex'
    """
    text = str(error)
    if not (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, without importing it
        or any(sign in text for sign in _NO_MEMORY)
    ):
        return error
    return UsageError(
        "the memory of this machine does not suffice",
        why=(text or type(error).__name__).splitlines()[0][:160],
        then="lower --batch-size, --size, --widths or --memory",
    )


# how torch's allocators say it, and its arithmetic of sizes that no machine has
_NO_MEMORY = ("can't allocate memory", "Storage size calculation overflowed", "not enough memory")


def shown(text: object) -> str:
    r"""Make text from outside safe for one line of a terminal: escape what would steer it.

    >>> shown("cat\x1b[2J\n")
    'cat\\x1b[2J\\n'
    """
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNSAFE else c
        for c in str(text)
    )


def nearest(word: str, known: Sequence[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """Find the name that a mistyped or foreign one means, "" where none is near.

    Args:
        word: as typed; what follows a dot belongs to no name.
        known: names, their parts joined by "_".
        elsewhere: what other tools call some of them.

    >>> known = ["learning_rate", "val", "batch_size", "epochs"]
    >>> [nearest(word, known) for word in ("lr", "epoch", "batch", "learning-rat", "colour")]
    ['learning_rate', 'epochs', 'batch_size', 'learning_rate', '']
    """
    word = word.partition(".")[0].replace("-", "_").lower()
    if (meant := (elsewhere or {}).get(word)) in known:
        return str(meant)
    initials = ["".join(part[:1] for part in name.split("_")) for name in known]
    if len(word) > 1 and word in initials:
        return known[initials.index(word)]
    near = difflib.get_close_matches(word, known, 1)
    near = near or [name for name in known if len(word) > 2 and word in name.split("_")]
    near = near or [name for name in known if len(word) > 2 and name.startswith(word)]
    return near[0] if near else ""


def counted(n: int, thing: str, form: str = "") -> str:
    """Say how many there are of a thing: "1 image", "2 images".

    >>> counted(1, "core"), counted(2, "class"), counted(0, "category"), counted(1200, "file", ",")
    ('1 core', '2 classes', '0 categories', '1,200 files')
    """
    if n == 1:
        return f"1 {thing}"
    if thing.endswith("y"):
        thing = f"{thing[:-1]}ie"
    elif thing.endswith(("s", "x", "ch", "sh")):
        thing = f"{thing}e"
    return f"{n:{form}} {thing}s"


# control, format (right-to-left overrides), surrogates (not UTF-8), ends of line and paragraph
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
