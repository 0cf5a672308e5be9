"""Finished classifiers joined into one."""

from collections.abc import Sequence

from polyak.errors import UsageError
from polyak.model.classifier import Classifier
from polyak.targets import kind_facts


def join(classifiers: Sequence[Classifier]) -> Classifier:
    """Join finished classifiers into one: all their members, in the first one's order of classes.

    Each goes on with its own temperature (an ensemble's is handed to its members) and its own
    views, and each counts alike, however many members it has itself.

    Raises:
        UsageError: nothing to join, different classes, or other kinds of answers.

    >>> from polyak.model.member import Member
    >>> from polyak.networks.build import build, spec
    >>> options = {"size": (8, 8), "widths": (4, 4)}
    >>> from polyak.networks.preprocessing import Preprocessing
    >>> preprocessing = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> network, made = build("compact", 2, **options), spec("compact", 2, **options)
    >>> parts = [Classifier([Member(network, made, names, preprocessing)])
    ...          for names in (("cat", "dog"), ("dog", "cat"))]
    >>> len(join(parts).members), join(parts).classes
    (2, ('cat', 'dog'))
    """
    if not classifiers:
        raise UsageError("nothing to join", then="name at least one run or model file")
    first = classifiers[0]
    if len(classifiers) == 1:
        return first
    if any(one.kind.several != first.kind.several for one in classifiers):
        raise UsageError("nothing to join", why="some give one label an image, and some several")
    members = [member for one in classifiers for member in one.handed()]
    facts = kind_facts(first.kind) | ({"thresholds": None} if first.kind.several else {})
    joined = Classifier(members, first.classes, 1.0, first.views, facts)
    joined.files = tuple(file for one in classifiers for file in one.files)
    joined.pixel_cap = max(one.pixel_cap for one in classifiers)
    return joined
