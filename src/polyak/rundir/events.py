"""What a run reports as it goes: frozen dataclasses, each with one JSON form.

The console, metrics files, loggers, the report and a resumed run all read these.
"""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Event:
    """Report one thing that happened in a run.

    Args:
        member: number of the independent member that it happened to; None in a run of its own.

    >>> NoteEvent("nothing is logged").as_json()
    {'kind': 'note', 'line': 'nothing is logged'}
    """

    kind: ClassVar[str] = ""
    kept: ClassVar[bool] = True  # in metrics.jsonl

    member: int | None = field(default=None, kw_only=True)

    def as_json(self) -> dict[str, Any]:
        """Give plain numbers, texts, lists and dictionaries, without what may be absent and is.

        >>> StepEvent(3, 0, 0.5, 1.25).as_json()
        {'kind': 'step', 'step': 3, 'epoch': 0, 'progress': 0.5, 'loss': 1.25}
        """
        found: dict[str, Any] = {"kind": self.kind}
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None or one.default is not None:
                found[one.name] = value
        return found

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Read what `as_json` gave; names of other versions are passed over.

        Raises:
            ValueError: something is missing.

        >>> NoteEvent.from_json({"kind": "note", "line": "hello", "colour": "red"}).line
        'hello'
        """
        known = {one.name for one in fields(cls)}
        try:
            return cls(**{name: value for name, value in record.items() if name in known})
        except TypeError as error:
            raise ValueError(f"a {cls.kind} event that lacks something: {error}") from error


@dataclass(frozen=True)
class StartEvent(Event):
    """A run begins or goes on.

    Args:
        run: its directory; empty on processes that do not lead.
        resumed: whether it goes on.
        step: where it begins.
        steps: how many there will be.
        found: files of the source.
        left_out: of these, files that cannot be used.
        train: images to train on.
        val: images to validate on.
        test: images to test on.
        classes: how many.
        model: name of the network.
        device: where it computes.
        precision: of its products, and why.
        threads: by purpose.
        decided: name of a choice -> (value, reason), of what the user left open.
        warnings: one line each.
        bits: of 16 that the grey images of 16 bits are scaled by; None where by all.
    """

    kind = "start"

    run: str
    resumed: bool
    step: int
    steps: int
    found: int
    left_out: int
    train: int
    val: int
    test: int
    classes: int
    model: str
    device: str
    precision: str
    threads: dict[str, int]
    decided: dict[str, list[str]]
    warnings: list[str]
    bits: int | None = None


@dataclass(frozen=True)
class StepEvent(Event):
    """An optimizer step was taken.

    Args:
        step: how many now.
        epoch: the pass over the training images that it is of, from 0.
        progress: of the run before it, in [0, 1].
        loss: mean over the steps since the last validation but this one; NaN at first.
    """

    kind = "step"
    kept = False

    step: int
    epoch: int
    progress: float
    loss: float


@dataclass(frozen=True)
class FeaturesEvent(Event):
    """A frozen network has seen some more images.

    Args:
        done: images that it has seen.
        of: images in all.
    """

    kind = "features"
    kept = False

    done: int
    of: int


@dataclass(frozen=True)
class ValidationEvent(Event):
    """Weights were measured on held-out images.

    Args:
        step: after how many steps.
        epoch: the same in passes over the training images.
        progress: the same as a share of the run.
        learning_rate: of the first group.
        train_loss: mean since the validation before.
        val_accuracy: of the weights as they are; None where nothing is held out.
        val_loss: the same, NLL in nats.
        average_accuracy: of the better average.
        average_loss: the same, NLL in nats.
        images_per_second: in training, since the validation before.
        wait_share: of that time, waiting for data.
        seconds: since the command began.
    """

    kind = "validation"

    step: int
    epoch: float
    progress: float
    learning_rate: float
    train_loss: float
    val_accuracy: float | None = None
    val_loss: float | None = None
    average_accuracy: float | None = None
    average_loss: float | None = None
    images_per_second: float = 0.0
    wait_share: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class FinishedEvent(Event):
    """A model file is written.

    Args:
        chosen: name of the candidate that predicts.
        evaluation: its figures on "split", `test` where it exists and else `val`; None where
            nothing was held out.
        confused: [label, predicted, count, share] of the commonest confusions.
        temperature: that its logits are divided by.
        left_out: files that could not be used.
        found: files of the source, used or left out; None where a run of polyak 0.1 tells.
        cautions: where accuracy alone misleads, one line each.
        model: the model file.
        seconds: of the whole run.
        images_per_second: in training.
        wait_share: of that time, waiting for data.
        candidates: name -> figures on validation.
        rule: by which it was chosen.
        table: a row for each candidate.
        spent: seconds by kind of work.
        folds: where there were any: a row each, means with intervals, and what they came to.
        thresholds: of several labels an image, from which probability on each is given.
    """

    chosen: str
    evaluation: dict[str, Any] | None
    confused: list[list[Any]]
    temperature: float
    left_out: int
    model: str
    seconds: float
    images_per_second: float = 0.0
    wait_share: float = 0.0
    candidates: dict[str, dict[str, Any]] = field(default_factory=dict)
    found: int | None = None
    cautions: list[str] = field(default_factory=list)
    rule: str | None = None
    table: list[dict[str, Any]] | None = None
    spent: dict[str, float] | None = None
    folds: dict[str, Any] | None = None
    thresholds: list[float] | None = None


@dataclass(frozen=True)
class EndEvent(FinishedEvent):
    """A run is finished."""

    kind = "end"


@dataclass(frozen=True)
class MemberEvent(FinishedEvent):
    """A run within a run is finished.

    Args:
        noun: what it is: a "member" of an ensemble, a "fold".
    """

    kind = "member"

    noun: str = "member"


@dataclass(frozen=True)
class NoteEvent(Event):
    """Something the user should know.

    Args:
        line: one line.
    """

    kind = "note"

    line: str
