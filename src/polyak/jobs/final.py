"""What folds come to: their models joined, one of their mean weights, or one of all images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from polyak.errors import UsageError
from polyak.model import Classifier
from polyak.model.soups import SoupBuilder
from polyak.targets import kind_facts
from polyak.training.session import Session


@dataclass(frozen=True)
class Final:
    """Hold the model that ships.

    Args:
        kind: "ensemble", "soup" or "refit".
        classifier: it.
        title: what tables call it.
        notes: what the user should know.
    """

    kind: str
    classifier: Classifier
    title: str
    notes: tuple[str, ...] = ()

    @property
    def passes(self) -> int:
        """Networks that a prediction goes through."""
        return sum(member.weight > 0 for member in self.classifier.members)


def made(session: Session, kind: str, loaded: Sequence[Classifier], folds: int) -> Final:
    """Make the model that ships.

    No image is left that neither trained nor chose, so nothing is fitted here: a single network
    takes the mean temperature of the folds' models, which were calibrated on their own folds.

    Args:
        session: with the images that all of them were trained on.
        kind: "ensemble", "soup" or "refit"; an ensemble, and a note, where there is no soup.
        loaded: the folds' models, and that of all images where it is wanted.
        folds: how many of them are of folds.
    """
    members = [one for fold in loaded[:folds] for one in fold.handed()]
    facts = kind_facts(session.data.dataset.kind)
    whole = Classifier(members, session.data.classes, 1.0, session.resolved.views, facts)
    if kind == "refit":
        return Final(kind, _calibrated(loaded[-1], loaded[:folds]), "one more model, of all images")
    title = f"the models of {folds} folds"
    if kind == "soup":
        try:
            training = session.data.train.dataset
            # of a fold's model that predicts together with its probe, the network that was trained
            trained = [fold.handed()[0] for fold in loaded[:folds]]
            tuned = Classifier(trained, whole.classes, 1.0, whole.views, facts)
            builder = SoupBuilder(tuned, training, training, session.machine.device)
            found, _ = builder.build(greedily=False)
        except UsageError as error:
            why = error.why.replace("validation", "the images that they were trained on")
            return Final("ensemble", whole, title, (f"no soup: {why}; the models are joined",))
        return Final(kind, _calibrated(found, loaded[:folds]), f"the mean of {title}")
    return Final(kind, whole, title)


def _calibrated(one: Classifier, folds: Sequence[Classifier]) -> Classifier:
    """Give a classifier the geometric mean of the temperatures at which folds' models predict."""
    logs = [math.log(fold.temperature) for fold in folds]
    temperature = math.exp(sum(logs) / len(logs))
    return Classifier(one.members, one.classes, temperature, one.views, kind_facts(one.kind))
