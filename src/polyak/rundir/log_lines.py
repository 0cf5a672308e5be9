"""What an event says to a person: the same lines on the terminal and in log.txt."""

from functools import singledispatch

from polyak.errors import counted
from polyak.rundir.events import (
    EndEvent,
    Event,
    MemberEvent,
    NoteEvent,
    StartEvent,
    ValidationEvent,
)
from polyak.rundir.plan_events import (
    BackboneEvent,
    CellEvent,
    CountsEvent,
    CurveEvent,
    ProbeEvent,
    RowEvent,
)


@singledispatch
def lines(event: Event) -> list[str]:
    """Put an event into words, a line each; a kind without words gives none.

    >>> from polyak.rundir.events import StepEvent
    >>> lines(StepEvent(1, 0, 0.5, 2.0)), lines(NoteEvent("ready"))
    ([], ['note: ready'])
    """
    return []


@lines.register
def _(event: NoteEvent) -> list[str]:
    return [f"note: {event.line}"]


@lines.register
def _(event: CountsEvent) -> list[str]:
    each = ", ".join(f"{name} {n}" for name, n in event.classes.items())
    return [f"images to train on: {each}"]


@lines.register
def _(event: ProbeEvent) -> list[str]:
    if event.stage is None:
        return []
    figures = f"cross-validated {event.measure} {event.accuracy:.2%}, NLL {event.nll:.3f}"
    return [f"stage {event.stage}: {figures}"]


@lines.register
def _(event: BackboneEvent) -> list[str]:
    figures = f"cross-validated {event.measure} {event.accuracy:.2%}, NLL {event.nll:.3f}"
    price = f", {event.milliseconds:.0f} ms an image" if event.milliseconds else ", remembered"
    return [f"{event.model} at {event.size} pixels: {event.strategy}, {figures}{price}"]


@lines.register
def _(event: CurveEvent) -> list[str]:
    line = "{} a class: {accuracy:.2%}, spread {spread:.2%}"
    return [line.format(counted(int(point["each"]), "image"), **point) for point in event.points]


@lines.register
def _(event: CellEvent) -> list[str]:
    return [f"here: {event.why}"]


@lines.register
def _(event: RowEvent) -> list[str]:
    value = event.accuracy["value"]
    name = f"{event.measure} " if event.measure != "accuracy" else ""
    return [f"tried {event.strategy}: {name}{value:.2%} of {event.n} after {event.seconds:.0f} s"]


@lines.register
def _(event: StartEvent) -> list[str]:
    used = event.found - event.left_out
    sizes = {"train": event.train, "val": event.val, "test": event.test}
    parts = ", ".join(f"{n} {part}" for part, n in sizes.items() if n)
    going = f"continuing at step {event.step}" if event.resumed else "training"
    return [
        f"{counted(event.found, 'file')} found = {used} used + {event.left_out} left out; "
        f"{parts}; {counted(event.classes, 'class')}",
        *(f"note: {line}" for line in event.warnings),
        *(
            f"  {name.replace('_', '-')} = {value}  ({why})"
            for name, (value, why) in event.decided.items()
        ),
        f"{going}: {event.model} on {event.device}, {event.precision}; "
        f"{counted(event.steps, 'step')}; run {event.run}",
    ]


@lines.register
def _(event: ValidationEvent) -> list[str]:
    if event.val_accuracy is None:
        return []
    average = event.average_accuracy
    return [
        f"{event.progress:4.0%}  epoch {event.epoch:.1f}  "
        f"loss {event.train_loss:.3f}  validation {event.val_accuracy:.2%}"
        + (f"  averaged {average:.2%}" if average is not None else "")
        + f"  {event.images_per_second:.0f} images/s"
    ]


@lines.register
def _(event: MemberEvent) -> list[str]:
    measured = event.evaluation
    name = "mAP" if "map" in (measured or {}) else "accuracy"
    figure = f", {name} {measured[name.lower()]['value']:.2%}" if measured else ""
    return [f"{event.noun} {event.member} is done{figure}: {event.model}"]


@lines.register
def _(event: EndEvent) -> list[str]:
    pace = ""
    if event.images_per_second:  # a probe trains nothing, and members reported theirs
        pace = (
            f", {event.images_per_second:.0f} images/s in training, "
            f"{event.wait_share:.1%} of it waiting for data"
        )
    return [
        *(
            f"not used: {row['name']}: {row['refused']}"
            for row in event.table or ()
            if "refused" in row
        ),
        *(f"note: {line}" for line in event.cautions),
        *(
            f"confused: {label} taken for {predicted}, {counted(count, 'time')} ({share:.0%})"
            for label, predicted, count, share in event.confused[:3]
        ),
        *_folds(event),
        f"{event.seconds:.0f} s{pace}",
        *_counts(event),
        f"model: {event.model}",
        f"next: polyak predict {event.model} IMAGES",
    ]


def _folds(event: EndEvent) -> list[str]:
    """Tell of every fold, of their mean, and of the price of what they came to."""
    if event.folds is None:
        return []
    each, accuracy, nll = (event.folds[name] for name in ("each", "accuracy", "nll"))
    name = "mAP" if "map" in event.folds["evaluation"] else "accuracy"
    rows = [
        f"fold {row['fold']}: {name} {row['accuracy']:.2%}, NLL {row['nll']:.3f}, "
        f"{counted(row['n'], 'image')}"
        for row in each
    ]
    means = (
        f"over {len(each)} folds: {name} {accuracy['value']:.2%} ({accuracy['low']:.2%} to "
        f"{accuracy['high']:.2%}), NLL {nll['value']:.3f} ({nll['low']:.3f} to {nll['high']:.3f})"
    )
    passes = counted(event.folds["passes"], "pass")
    return [*rows, means, f"final: {event.folds['final']}, {passes} a prediction"]


def _counts(event: EndEvent) -> list[str]:
    """Account for every file at the end; runs of polyak 0.1 told only what was left out."""
    left_out = event.left_out
    listed = " (quarantine.csv)" if left_out else ""
    if event.found is None:
        return [f"{counted(left_out, 'file')} left out{listed}"] if left_out else []
    used = event.found - left_out
    return [f"{counted(event.found, 'file')} found = {used} used + {left_out} left out{listed}"]
