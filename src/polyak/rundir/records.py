"""The records of a run, as metrics.jsonl has them: read with suspicion, a line each."""

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from polyak.decoding.unreadable import pixel_count
from polyak.errors import RefusedError
from polyak.files import read_text
from polyak.rundir.journal import NAME

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[float, Field(ge=0, lt=1e15)]
Loss = Annotated[float, Field(allow_inf_nan=True)]  # a validation may have met what is none


class Page(BaseModel):
    """Names and values of their types; what else stands there is left alone."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, allow_inf_nan=False)


class Figure(Page):
    """A figure with its interval."""

    value: Amount
    low: Amount
    high: Amount


class Evaluation(Page):
    """How good a model is on one split."""

    split: str
    n: Count
    accuracy: Figure
    nll: Figure
    ece: Figure


class Measured(Page):
    """One way to end a run, and how good it is."""

    name: str
    chosen: bool
    split: str
    views: str
    passes: Count
    share: Share
    accuracy: Figure
    nll: Figure
    ece: Figure


class Refused(Page):
    """One way to end a run that was no candidate after all."""

    name: str
    refused: str


class Candidate(Page):
    """How one way to end a run did on validation, or in cross-validation."""

    accuracy: Share = 0.0
    nll: Amount = 0.0
    l2: Amount = 0.0


class Fold(Page):
    """How good the model of one fold is on its own images."""

    fold: Count
    n: Count
    accuracy: Share
    nll: Amount


class Folds(Page):
    """How good the models of all folds are, each on images that it did not see."""

    final: str
    passes: Count
    each: list[Fold]
    accuracy: Figure
    nll: Figure


class Spent(Page):
    """Seconds by kind of work."""

    wait: Amount
    compute: Amount
    decode: Amount
    render: Amount


class Start(Page):
    """What a run is about to do."""

    found: Count = 0
    left_out: Count = 0
    step: Count = 0
    steps: Count = 0
    warnings: list[str] = []
    bits: Annotated[int, Field(ge=8, le=16)] = 16


class Validation(Page):
    """How good the weights are on the way."""

    step: Count = 0
    epoch: Amount = 0.0
    progress: Share = 0.0
    learning_rate: Amount = 0.0
    train_loss: Loss | None = None
    val_loss: Loss | None = None
    average_loss: Loss | None = None
    val_accuracy: Share | None = None
    average_accuracy: Share | None = None
    seconds: Amount = 0.0


class End(Page):
    """What came of a run."""

    chosen: str = ""
    rule: str = ""
    candidates: dict[str, Candidate] = {}
    table: list[Refused | Measured] = []
    evaluation: Evaluation | None = None
    confused: list[tuple[str, str, Count, Share]] = []
    temperature: Annotated[float, Field(gt=0)] = 1.0
    left_out: Count = 0
    model: str = ""
    images_per_second: Amount = 0.0
    wait_share: Share = 0.0
    seconds: Amount = 0.0
    spent: Spent | None = None
    folds: Folds | None = None
    thresholds: list[Share] | None = None

    @model_validator(mode="after")
    def _a_table_was_measured(self):
        measured = any(isinstance(row, Measured) for row in self.table)
        if self.table and not (self.evaluation and measured):
            raise ValueError("nothing was measured")
        return self


class Note(Page):
    """A line for people."""

    line: str


class Versions(Page):
    """What a run ran on."""

    versions: dict[str, Any] = {}


class Environment(Page):
    """What a run began with, as env.json has it."""

    asked: dict[str, Any] = {}
    machine: Versions = Versions()


def _pixels(text: str) -> str:
    pixel_count(text)
    return text


class Recipe(Page):
    """What the page of a run reads of config.yaml."""

    data: str = ""
    size: Count | None = None
    seed: Count = 0
    augment: str = ""
    ensemble: str | None = None
    cycles: Annotated[int, Field(ge=1, le=10**4)] | None = None
    cycle_growth: Annotated[float, Field(gt=0, le=10)] = 1.0
    warm_up: Share | None = None
    max_pixels: Annotated[str, AfterValidator(_pixels)] = "64M"


class Kind(Page):
    """What every record has."""

    kind: str


KINDS: dict[str, type[Page]] = {"start": Start, "validation": Validation, "end": End, "note": Note}
DEFAULTS = End().model_dump(exclude={"table", "rule", "spent", "candidates", "folds", "thresholds"})


def records(path: Path) -> list[dict[str, Any]]:
    """Read a run's metrics.jsonl; a last line that a crash has cut is left out.

    Raises:
        RefusedError: a line is no record, or says what cannot be.

    >>> records(Path("nowhere"))
    []
    """
    file = path / NAME
    if not file.exists():
        return []
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise _refused(file, getattr(error, "strerror", None) or str(error)) from error
    found = []
    *lines, cut = text.split("\n")
    for number, line in enumerate([*lines, cut] if _whole(cut) else lines, 1):
        try:
            kind = Kind.model_validate_json(line).kind
            KINDS.get(kind, Kind).model_validate_json(line)
            found.append(json.loads(line))
        except ValidationError as error:
            first = error.errors()[0]
            what = ".".join(str(part) for part in first["loc"]) or "all of it"
            raise _refused(file, f"line {number}: {what}: {first['msg']}") from error
        except (ValueError, RecursionError) as error:
            raise _refused(file, f"line {number}: it is no record") from error
    for record in found:
        if record["kind"] == "end":
            record |= {name: value for name, value in DEFAULTS.items() if name not in record}
    return found


def _whole(line: str) -> bool:
    try:
        Kind.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _refused(file: Path, why: str) -> RefusedError:
    return RefusedError(
        "this run's records are damaged",
        where=str(file),
        why=why[:200],
        kept="everything in the run directory",
        then="bring the file back as it was, or take it away to go without its figures",
    )
