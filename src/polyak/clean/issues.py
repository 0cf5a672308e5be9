"""What may be wrong with an image, as a table that people edit and training reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from polyak.data.exclude import NO, YES
from polyak.data.table import write_table

# what is wrong, the gravest first; of these alone training without is the better default
KINDS = ("contradiction", "label", "copy", "similar", "tiny", "dark", "blurred", "odd")
LEFT_OUT = ("contradiction", "label", "copy")
COLUMNS = ("path", "issue", "score", "label", "suggested", "probability", "exclude")


@dataclass(frozen=True)
class Issue:
    """Say what may be wrong with one image.

    Args:
        path: of the image, as the data names it.
        kind: one of KINDS.
        score: from 0, surely wrong, to 1; what it measures depends on the kind.
        label: its class, as given.
        suggested: the class that it more probably has; "" where that is not the question.
        probability: of the suggested class, by a model that did not learn from this image.

    >>> Issue("a.jpg", "label", 0.02, "cat", "dog", 0.97).row
    ['a.jpg', 'label', '0.0200', 'cat', 'dog', '0.970', 'yes']
    """

    path: str
    kind: str
    score: float
    label: str
    suggested: str = ""
    probability: float | None = None

    @property
    def row(self) -> list[str]:
        """Its line of the table."""
        sure = "" if self.probability is None else f"{self.probability:.3f}"
        exclude = YES if self.kind in LEFT_OUT else NO
        figures = [f"{self.score:.4f}", self.label, self.suggested, sure, exclude]
        return [self.path, self.kind, *figures]


def ordered(issues: Iterable[Issue]) -> list[Issue]:
    """Sort by kind, and within a kind the likeliest first.

    >>> found = [Issue("b", "odd", 0.1, "x"), Issue("a", "label", 0.5, "x"),
    ...          Issue("c", "label", 0.2, "x")]
    >>> [one.path for one in ordered(found)]
    ['c', 'a', 'b']
    """
    return sorted(issues, key=lambda one: (KINDS.index(one.kind), one.score, one.path))


def write_issues(file: Path, issues: Sequence[Issue]) -> None:
    """Write issues.csv; atomic, safe in spreadsheets.

    Raises:
        DiskError: the disk refused.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "issues.csv"
    >>> write_issues(table, [Issue("a.jpg", "odd", 0.1, "cat")])
    >>> table.read_text().splitlines()[1]
    'a.jpg,odd,0.1000,cat,,,no'
    """
    write_table(file, COLUMNS, (one.row for one in issues))
