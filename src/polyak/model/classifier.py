"""The trained classifier: one network or several, and their joint answer."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from torch import nn

from polyak.data.dataset import Dataset
from polyak.data.images import Decoding, Images
from polyak.data.sources import ClassesFrom
from polyak.data.sources.unlabelled import list_images
from polyak.decoding.decode import min_size_for
from polyak.decoding.unreadable import PIXEL_CAP
from polyak.ensemble import CalibratedMean, Ensemble, combine, disagreement, tempered
from polyak.errors import RefusedError, UsageError, shown
from polyak.inference import Failed, Options, Predictor, every_log_probabilities
from polyak.metrics import Conformal, Coverage
from polyak.model.held_out import HeldOutEvaluation, LabelledData, held_out
from polyak.model.inputs import Inputs, files
from polyak.model.inputs import images as in_memory
from polyak.model.member import Member
from polyak.model.predictions import Predictions
from polyak.networks.preprocessing import Preprocessing
from polyak.targets import TargetKind, read_kind


class PredictOptions(Options, total=False):
    """How images are predicted: `Options`, and `views` in place of the model's own.

    >>> options: PredictOptions = {"views": "flip", "batch_size": 8}
    """

    views: str | None


class Classifier:
    """Predict the class of images.

    Args:
        members: networks with all that each needs; one, or several to be joined.
        classes: K names, in the order of the answers; default the first member's.
        temperature: the logits (of several members: their joint ones) are divided by it; fitted on
            validation.
        views: test-time views that are averaged: one, flip, flip+shift.
        header: provenance, evaluation and whatever else travelled in the file; whether images have
            several labels, and their thresholds.
        mean: of `probabilities` or `logits`.

    Attributes:
        files: the model files that it was loaded from; none for one that was made here.
        pixel_cap: the most pixels that an image may have.
        kind: what it answers: one label, of `classes`, or several.

    Raises:
        UsageError: no members, or members of other classes.

    >>> from polyak.networks.build import build, spec
    >>> options = {"size": (8, 8), "widths": (4, 4)}
    >>> preprocessing = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3, 1.0)
    >>> network = build("compact", 2, **options)
    >>> made = Member(network, spec("compact", 2, **options), ("cat", "dog"), preprocessing)
    >>> Classifier([made]).predict(np.zeros((5, 8, 8, 3), np.uint8)).probabilities.shape
    (5, 2)
    """

    def __init__(
        self,
        members: Sequence[Member],
        classes: Sequence[str] | None = None,
        temperature: float = 1.0,
        views: str = "one",
        header: dict[str, Any] | None = None,
        mean: str = "probabilities",
    ):
        if not members:
            raise UsageError("a classifier needs at least one member")
        self.members: tuple[Member, ...] = tuple(members)
        self.classes: tuple[str, ...] = tuple(members[0].classes if classes is None else classes)
        for member in members:
            member.order(self.classes)
            member.network.eval()
        self.temperature: float = temperature
        self.views: str = views
        self.header: dict[str, Any] = header or {}
        self.mean: str = mean
        self.files: tuple[Path, ...] = ()
        self.pixel_cap: int = PIXEL_CAP
        self.kind: TargetKind = read_kind(self.header, len(self.classes))
        self.reweigh: np.ndarray | None = None  # added to log-probabilities: of another prior

    @property
    def spec(self) -> dict[str, Any]:
        """How to build the network again; of several members, the first one's."""
        return self.members[0].spec

    @property
    def preprocessing(self) -> Preprocessing:
        """From image to input; of several members, the first one's."""
        return self.members[0].preprocessing

    @property
    def network(self) -> nn.Module:
        """The network; several members that prepare images alike come as one, with log-means.

        Raises:
            UsageError: the members want different images, or a mean that no network computes.
        """
        running = [member for member in self.members if member.weight > 0]
        if len(running) == 1 and running[0].temperature == 1:
            return running[0].network
        same = {(m.preprocessing, m.classes) for m in running} == {
            (self.preprocessing, self.classes)
        }
        if not same or self.mean != "probabilities":
            raise UsageError(
                "these members do not make one network",
                why="they want images of different sizes, or order classes or means otherwise",
                then="take one member's own model file",
            )
        mean = CalibratedMean([m.temperature for m in running], self.weights)
        return Ensemble([member.network for member in running], mean)

    @property
    def decoding(self) -> Decoding:
        """How images are decoded for it, as in training: large JPEGs no larger than is of use, 16
        bits scaled as the training data were.
        """
        sizes = [member.preprocessing.size for member in self.members]
        size = max(height for height, _ in sizes), max(width for _, width in sizes)
        return Decoding(self.pixel_cap, min_size_for(size), self.preprocessing.bits)

    def opened(self, source: Dataset | Sequence[str | Path]) -> Images:
        """Open images, to be decoded as in training."""
        on = self.decoding
        return Images.open(source, None, 0, on.pixel_cap, on.min_size, on.bits)

    def predict(
        self, inputs: Inputs, sets: float | None = None, **options: Unpack[PredictOptions]
    ) -> Predictions:
        """Predict files, every image below a folder, or images in memory.

        Files that cannot be read are named, not hidden. Links to folders are followed, each real
        folder once. Images in memory are called by their number.

        Args:
            inputs: a file, a folder, or several of them; or PIL images, uint8 arrays (H, W, 3) or
                (N, H, W, 3), tensors (3, H, W) or (N, 3, H, W), uint8 or float in [0, 1].
            sets: share of images that must have their true class in their set; None makes none.
            options: `device`, `batch_size`, `threads`, `views`.

        Raises:
            DataError: there is no image there, or something that is none.
            UsageError: the model does not know how sure it must be for sets.
        """
        conformal = None if sets is None else self.conformal(sets)
        notes: list[str] = []
        named = files(inputs)
        if named is None:
            opened = in_memory(inputs, self.decoding)
        else:
            opened = self.opened(list_images(named, notes))
        log_probs, failed = self.log_probabilities(opened, **options)
        apart = disagreement(log_probs, self.weights) if len(log_probs) > 1 else None
        names, odds = list(opened.source.keys), self.together(log_probs)
        return Predictions(
            names, odds, self.classes, [(names[i], reason) for i, reason in failed], apart,
            tuple(notes), conformal and conformal.sets(odds, sets or 0.0),
            self.kind.decide(odds) > 0 if self.kind.several else None,
        )  # fmt: skip

    def conformal(self, level: float) -> Conformal:
        """Give what prediction sets at a level are made by.

        Raises:
            UsageError: no such level, or a model that was made without.
        """
        where = f"--sets {level:g}"
        if self.kind.several:
            why = "an image may have several labels: those above their thresholds are given"
            raise UsageError("no prediction sets", where=where, why=why)
        if "conformal" not in self.header:
            why = "this model was made by an earlier polyak, joined, or measured on nothing"
            raise UsageError("no prediction sets", where=where, why=why, then="train it again")
        try:
            found = Conformal.read(self.header["conformal"])
            found.threshold(level)
        except ValueError as error:
            raise UsageError("no prediction sets", where=where, why=str(error)) from error
        return found

    def probabilities(
        self, images: Images, **options: Unpack[PredictOptions]
    ) -> tuple[np.ndarray, Failed]:
        """Predict opened images: float32 (N, K), and the (position, reason) of failures."""
        log_probs, failed = self.log_probabilities(images, **options)
        return self.together(log_probs), failed

    def log_probabilities(
        self, images: Images, **options: Unpack[PredictOptions]
    ) -> tuple[np.ndarray, Failed]:
        """Each running member's answers to opened images, in the classifier's order of classes.

        Returns:
            (float32 (M, N, K), each at its own temperature; (position, reason) of failures).
        """
        running = [member for member in self.members if member.weight > 0]
        views = options.pop("views", None)
        predictors = [
            Predictor(m.network, m.preprocessing, views or m.views or self.views, self.kind)
            for m in running
        ]
        log_probs, failed = every_log_probabilities(predictors, images, **options)
        parts = [
            tempered(rows[:, member.order(self.classes)], member.temperature, self.kind)
            for member, rows in zip(running, log_probs, strict=True)
        ]
        return np.stack(parts), failed

    def together(self, log_probs: np.ndarray) -> np.ndarray:
        """Probabilities (N, K) from the members' answers, (M, N, K): mean, then temperature.

        Raises:
            RefusedError: members and temperatures give an image no finite answer.
        """
        mean = combine(log_probs, self.weights, self.mean, self.kind)
        odds = self.kind.probabilities(self.kind.logits(mean), self.temperature)
        if self.reweigh is not None:
            odds = self.kind.probabilities(np.log(np.maximum(odds, 1e-38)) + self.reweigh)
        if (np.isnan(odds).any(1) & ~np.isnan(log_probs).any((0, 2))).any():
            why = "its members rule out every class, or its temperatures are too small"
            raise RefusedError("the model's answer is not finite", why=why)
        return odds

    def with_prior(self, shares: Mapping[str, float]) -> "Classifier":
        """Predict images among which the classes have other shares than this model assumes.

        Args:
            shares: of each class, more than zero; they need not sum to 1.

        Raises:
            UsageError: a class is missing or unknown, a share is not above zero, or the model does
                not say what it assumes.

        Source: Saerens, Latinne, Decaestecker, "Adjusting the outputs of a classifier to new a
        priori probabilities", Neural Computation 14, 2002.
        """
        if self.kind.several:
            why = "its images may have several labels"
            raise UsageError("this model assumes no shares", why=why)
        assumed = self.header.get("prior")
        if not isinstance(assumed, list) or len(assumed) != len(self.classes):
            why = "it was made by an earlier polyak, or joined"
            raise UsageError("this model does not say which shares it assumes", why=why)
        if odd := sorted(set(shares) ^ set(self.classes)):
            why = "no share is given" if odd[0] in self.classes else "the model does not know it"
            raise UsageError("shares do not fit the classes", where=shown(odd[0]), why=why)
        new = np.array([shares[name] for name in self.classes], float)
        try:
            old = np.array(assumed, float)
        except (TypeError, ValueError) as error:
            why = "what its file says of them are no numbers"
            raise UsageError("this model does not say which shares it assumes", why=why) from error
        if not (np.isfinite(new).all() and (new > 0).all() and (old > 0).all()):
            raise UsageError("shares do not fit the classes", why="each is a number above zero")
        other = copy.copy(self)
        other.reweigh = np.log(new / new.sum()) - np.log(old / old.sum())
        return other

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
        self,
        data: str | LabelledData,
        split: str | None = None,
        classes_from: ClassesFrom = "auto",
        sets: float | None = None,
        **options: Unpack[PredictOptions],
    ) -> HeldOutEvaluation:
        """Measure accuracy, NLL and calibration error on labelled images.

        By default on what the run behind this model was not trained on: images are told by their
        bytes, so copies and folders that moved count.

        Args:
            data: folder, CSV or `digits`; classes are matched by name. Or `LabelledData`, which
                says the next two itself.
            split: `train`, `val` or `test`, as the run had it, else as the data has it; by default
                `test` where the data has one, else all.
            classes_from: which folder names the class, `top` or `leaf`.
            sets: share of images that must have their true class in their prediction set; how many
                have is measured; None makes none.
            options: `device`, `batch_size`, `threads`, `views`.

        Raises:
            UsageError: that split is not there.
            DataError: a class that the model does not know, or it was trained on all there is.
        """
        conformal = None if sets is None else self.conformal(sets)
        if not isinstance(data, LabelledData):
            data = LabelledData(data, split, classes_from)
        found = held_out(data, self.classes, self.files, self.pixel_cap, self.kind)
        probabilities, failed = self.probabilities(self.opened(found.dataset), **options)
        read = np.setdiff1d(np.arange(len(found.dataset)), [i for i, _ in failed])
        seen = found.read(read)
        evaluation = seen.by(self.kind).evaluation(probabilities[read])
        if conformal is None or sets is None:
            return evaluation
        made = conformal.sets(probabilities[read], sets)
        coverage = Coverage.of(made, seen.dataset.labels, sets, self.classes)
        notes = (*evaluation.notes, *conformal.notes(seen.splits))
        return replace(evaluation, coverage=coverage, notes=notes)
