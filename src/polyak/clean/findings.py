"""What a search through some images came to."""

from dataclasses import dataclass

from polyak.clean.issues import Issue
from polyak.data.dataset import Dataset
from polyak.data.images import Images


@dataclass(frozen=True)
class Findings:
    """Hold what may be wrong, the gravest first.

    Args:
        issues: an image may have several.
        data: the images.
        images: their pixels.
        accuracy: of the model that says so, on images that it did not learn from.

    >>> from polyak.data import find, scan
    >>> data = scan(find("digits"))
    >>> issue = Issue("a.png", "odd", 0.1, "1")
    >>> Findings([issue, issue], data, Images.open(data, 1), 0.9).counts()
    {'odd': 2}
    """

    issues: list[Issue]
    data: Dataset
    images: Images
    accuracy: float

    def counts(self) -> dict[str, int]:
        """Count the issues by kind."""
        kinds = [one.kind for one in self.issues]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
