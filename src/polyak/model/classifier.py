"""The trained classifier: members that say their part, and what they say together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from polyak.data.dataset import Dataset
from polyak.data.images import Images
from polyak.data.sources import ClassesFrom
from polyak.data.sources.unlabelled import list_images
from polyak.decoding.decode import least_for
from polyak.decoding.unreadable import PIXEL_CAP
from polyak.ensemble import CalibratedMean, Ensemble, combine, disagreement, tempered
from polyak.errors import RefusedError, UsageError
from polyak.inference import Look, every_log_probabilities
from polyak.model.held_out import HeldOutEvaluation, held_out
from polyak.model.member import Member
from polyak.networks.preprocessing import Preprocessing
from polyak.targets import SINGLE_LABEL, TargetKind


@dataclass(frozen=True)
class Predictions:
    """Hold what a classifier says of files, best class first.

    Args:
        paths: the files, as they were named.
        probabilities: float32 (N, K); a row of NaN where the file could not be read.
        classes: K names.
        unreadable: (path, reason) of the files without a prediction.
        disagreement: float (N,), how far the members lie apart, 0 to 1; None for a single network.
        notes: one line for each folder that was not read, or reached twice through a link.
    """

    paths: list[str]
    probabilities: np.ndarray
    classes: tuple[str, ...]
    unreadable: list[tuple[str, str]]
    disagreement: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def top(self, k: int = 1) -> list[list[tuple[str, float]]]:
        """List the k likeliest classes of every file with their probabilities.

        >>> said = Predictions(["a.jpg"], np.array([[0.2, 0.8]]), ("cat", "dog"), [])
        >>> said.top()
        [[('dog', 0.8)]]
        """
        best = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return [
            [] if np.isnan(row[0]) else [(self.classes[i], float(row[i])) for i in order]
            for row, order in zip(self.probabilities, best, strict=True)
        ]


class Classifier:
    """Predict the class of pictures.

    Args:
        network: float32 (N, 3, h, w) -> logits (N, K).
        spec: how to build the network again: {"name", "classes", "options"}.
        classes: K names, in the order of the logits.
        preprocessing: from picture to input.
        temperature: the logits (of several members: their joint ones) are divided by it; fitted on
            validation.
        views: test-time views that are averaged: one, flip, flip+shift.
        header: provenance, evaluation and whatever else travelled in the file.

    Attributes:
        files: the model files that it was loaded from; none for one that was made here.
        pixel_cap: the most pixels that an image may have which it is to judge.

    >>> from polyak.networks.build import build, spec
    >>> how = {"size": (8, 8), "widths": (4, 4)}
    >>> network = build("compact", 2, **how)
    >>> page = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> classifier = Classifier(network, spec("compact", 2, **how), ["cat", "dog"], page)
    >>> classifier.probabilities(Images.of(np.zeros((5, 8, 8, 3), np.uint8)))[0].shape
    (5, 2)
    """

    def __init__(
        self,
        network: nn.Module,
        spec: dict,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        temperature: float = 1.0,
        views: str = "one",
        header: dict | None = None,
    ):
        member = Member(network.eval(), spec, tuple(classes), preprocessing)
        self.members, self.classes = (member,), tuple(classes)
        self.temperature, self.views = temperature, views
        self.header, self.mean = header or {}, "probabilities"
        self.files: tuple[Path, ...] = ()
        self.pixel_cap: int = PIXEL_CAP

    @classmethod
    def of(
        cls,
        members: Sequence[Member],
        classes: Sequence[str],
        temperature: float = 1.0,
        views: str = "one",
        header: dict | None = None,
        mean: str = "probabilities",
    ) -> "Classifier":
        """Join members into one classifier: the mean of their `probabilities` or `logits`.

        Raises:
            UsageError: no members, or members of other classes.
        """
        if not members:
            raise UsageError("a classifier needs at least one member")
        for member in members:
            member.order(tuple(classes))
            member.network.eval()
        first = members[0]
        joined = cls(first.network, first.spec, classes, first.preprocessing, temperature, views,
                     header)  # fmt: skip
        joined.members, joined.mean = tuple(members), mean
        return joined

    @property
    def kind(self) -> TargetKind:
        """What it answers: one label, of `classes`."""
        return SINGLE_LABEL

    @property
    def spec(self) -> dict:
        """How to build the network again; of several members, the first one's."""
        return self.members[0].spec

    @property
    def preprocessing(self) -> Preprocessing:
        """From picture to input; of several members, the first one's."""
        return self.members[0].preprocessing

    @property
    def network(self) -> nn.Module:
        """The network; several members that look at pictures alike come as one, with log-means.

        Raises:
            UsageError: the members want different pictures, or a mean that no network computes.
        """
        running = [member for member in self.members if member.weight > 0]
        if len(running) == 1 and running[0].temperature == 1:
            return running[0].network
        alike = {(m.preprocessing, m.classes) for m in running} == {
            (self.preprocessing, self.classes)
        }
        if not alike or self.mean != "probabilities":
            raise UsageError(
                "these members do not make one network",
                why="they want pictures of different sizes, or order classes or means otherwise",
                then="take one member's own model file",
            )
        mean = CalibratedMean([m.temperature for m in running], self.weights)
        return Ensemble([member.network for member in running], mean)

    def opened(self, source: Dataset | Sequence[str | Path]) -> Images:
        """Open pictures to be decoded as in training: large JPEGs no larger than is of use, 16 bits
        scaled as the training data were.
        """
        sizes = [member.preprocessing.size for member in self.members]
        size = max(height for height, _ in sizes), max(width for _, width in sizes)
        how = {"pixel_cap": self.pixel_cap, "bits": self.preprocessing.bits}
        return Images.open(source, budget=0, least=least_for(size), **how)

    def predict(self, inputs: str | Path | Sequence[str | Path], **how) -> Predictions:
        """Predict files or every image below a folder; unreadable ones are named, not hidden.

        Links to folders are followed, each real folder once.

        Args:
            inputs: a file, a folder, or several of them.
            how: `device`, `batch_size`, `threads`, `views`.

        Raises:
            DataError: there is no image there.
        """
        notes: list[str] = []
        paths = list_images([inputs] if isinstance(inputs, str | Path) else inputs, notes)
        logs, failed = self.log_probabilities(self.opened(paths), **how)
        unreadable = [(str(paths[i]), reason) for i, reason in failed]
        apart = disagreement(logs, self.weights) if len(logs) > 1 else None
        said = self.together(logs)
        names = [str(path) for path in paths]
        return Predictions(names, said, self.classes, unreadable, apart, tuple(notes))

    def probabilities(self, images: Images, **how) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Predict opened pictures: float32 (N, K), and the (position, reason) of failures."""
        logs, failed = self.log_probabilities(images, **how)
        return self.together(logs), failed

    def log_probabilities(self, images: Images, **how) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """What each running member says of opened pictures, in the classifier's order of classes.

        Returns:
            (float32 (M, N, K), each at its own temperature; (position, reason) of failures).
        """
        running = [member for member in self.members if member.weight > 0]
        views = how.pop("views", None)
        looks = [
            Look(m.network, m.preprocessing, views or m.views or self.views, self.kind)
            for m in running
        ]
        logs, failed = every_log_probabilities(looks, images, **how)
        parts = [
            tempered(rows[:, member.order(self.classes)], member.temperature)
            for member, rows in zip(running, logs, strict=True)
        ]
        return np.stack(parts), failed

    def together(self, logs: np.ndarray) -> np.ndarray:
        """Probabilities (N, K) from what the members say, (M, N, K): mean, then temperature.

        Raises:
            RefusedError: members and temperatures give an image no finite answer.
        """
        said = self.kind.probabilities(combine(logs, self.weights, self.mean), self.temperature)
        if (np.isnan(said).any(1) & ~np.isnan(logs).any((0, 2))).any():
            why = "its members rule out every class, or its temperatures are too small"
            raise RefusedError("the model's answer is not finite", why=why)
        return said

    def handed(self) -> list[Member]:
        """Running members to be used elsewhere: with this classifier's temperature and views, and
        weights that sum to 1.
        """
        total, t = sum(self.weights), self.temperature
        return [
            replace(
                member,
                temperature=member.temperature * t,
                weight=member.weight / total,
                views=member.views or self.views,
            )
            for member in self.members
            if member.weight > 0
        ]

    @property
    def weights(self) -> list[float]:
        """Weights of the running members."""
        return [member.weight for member in self.members if member.weight > 0]

    def evaluate(
        self, data: str, split: str | None = None, classes_from: ClassesFrom = "auto", **how
    ) -> HeldOutEvaluation:
        """Measure accuracy, NLL and calibration error on labelled images.

        By default on what the run behind this model was not trained on: images are told by their
        bytes, so copies and folders that moved count.

        Args:
            data: folder, CSV or `digits`; classes are matched by name.
            split: `train`, `val` or `test`, as the run had it, else as the data has it; by default
                `test` where the data has one, else all.
            classes_from: which folder names the class, `top` or `leaf`.
            how: `device`, `batch_size`, `threads`, `views`.

        Raises:
            UsageError: that split is not there.
            DataError: a class that the model does not know, or it was trained on all there is.
        """
        found = held_out(data, split, self.classes, self.files, classes_from, self.pixel_cap)
        probabilities, failed = self.probabilities(self.opened(found.dataset), **how)
        read = np.setdiff1d(np.arange(len(found.dataset)), [i for i, _ in failed])
        return found.read(read).evaluation(probabilities[read])


def join(classifiers: Sequence[Classifier]) -> Classifier:
    """Join finished classifiers into one: all their members, in the first one's order of classes.

    Each goes on with its own temperature (an ensemble's is handed to its members) and its own
    views, and each counts alike, however many members it has itself.

    Raises:
        UsageError: nothing to join, or different classes.

    >>> from polyak.networks.build import build, spec
    >>> how = {"size": (8, 8), "widths": (4, 4)}
    >>> page = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> network = build("compact", 2, **how)
    >>> parts = [Classifier(network, spec("compact", 2, **how), names, page)
    ...          for names in (["cat", "dog"], ["dog", "cat"])]
    >>> len(join(parts).members), join(parts).classes
    (2, ('cat', 'dog'))
    """
    if not classifiers:
        raise UsageError("nothing to join", then="name at least one run or model file")
    first = classifiers[0]
    if len(classifiers) == 1:
        return first
    members = [member for one in classifiers for member in one.handed()]
    joined = Classifier.of(members, first.classes, 1.0, first.views)
    joined.files = tuple(file for one in classifiers for file in one.files)
    joined.pixel_cap = max(one.pixel_cap for one in classifiers)
    return joined
