"""What a record says to a person: the same lines on the terminal and in log.txt."""

from polyak.errors import counted


def lines(record: dict) -> list[str]:
    """Put a record into words, a line each; a kind without words gives none.

    >>> lines({"kind": "step"})
    []
    """
    kinds = {"start": _start, "validation": _validation, "member": _member, "end": _end}
    kinds |= {"note": _note, "counts": _counts, "probe": _probe, "curve": _curve, "cell": _cell}
    tell = (kinds | {"row": _row}).get(record["kind"])
    return tell(record) if tell else []


def _note(record: dict) -> list[str]:
    return [f"note: {record['line']}"]


def _counts(record: dict) -> list[str]:
    each = ", ".join(f"{name} {n}" for name, n in record["classes"].items())
    return [f"images to train on: {each}"]


def _probe(record: dict) -> list[str]:
    line = "stage {stage}: cross-validated accuracy {accuracy:.2%}, NLL {nll:.3f}"
    return [line.format(**record)] if "stage" in record else []


def _curve(record: dict) -> list[str]:
    line = "{} a class: {accuracy:.2%}, spread {spread:.2%}"
    return [line.format(counted(point["each"], "image"), **point) for point in record["points"]]


def _cell(record: dict) -> list[str]:
    return [f"here: {record['why']}"]


def _row(record: dict) -> list[str]:
    value, n = record["accuracy"]["value"], record["n"]
    return [f"tried {record['strategy']}: {value:.2%} of {n} after {record['seconds']:.0f} s"]


def _counted(record: dict) -> list[str]:
    """Account for every file at the end; runs of earlier versions told only what was left out."""
    left_out = record["left_out"]
    where = " (quarantine.csv)" if left_out else ""
    if "found" not in record:
        return [f"{left_out} files left out{where}"] if left_out else []
    used = record["found"] - left_out
    return [f"{record['found']} files found = {used} used + {left_out} left out{where}"]


def _start(record: dict) -> list[str]:
    used = record["found"] - record["left_out"]
    parts = ", ".join(f"{record[part]} {part}" for part in ("train", "val", "test") if record[part])
    going = f"continuing at step {record['step']}" if record["resumed"] else "training"
    return [
        f"{counted(record['found'], 'file')} found = {used} used + {record['left_out']} left out; "
        f"{parts}; {counted(record['classes'], 'class')}",
        *(f"note: {line}" for line in record["warnings"]),
        *(
            f"  {name.replace('_', '-')} = {value}  ({why})"
            for name, (value, why) in record["decided"].items()
        ),
        f"{going}: {record['model']} on {record['device']}, {record['precision']}; "
        f"{counted(record['steps'], 'step')}; run {record['run']}",
    ]


def _validation(record: dict) -> list[str]:
    if "val_accuracy" not in record:
        return []
    average = record.get("average_accuracy")
    return [
        f"{record['progress']:4.0%}  epoch {record['epoch']:.1f}  "
        f"loss {record['train_loss']:.3f}  validation {record['val_accuracy']:.2%}"
        + (f"  averaged {average:.2%}" if average is not None else "")
        + f"  {record['images_per_second']:.0f} images/s"
    ]


def _member(record: dict) -> list[str]:
    measured = record["evaluation"]
    figure = f", accuracy {measured['accuracy']['value']:.2%}" if measured else ""
    return [f"member {record['member']} is done{figure}: {record['model']}"]


def _end(record: dict) -> list[str]:
    pace = ""
    if record["images_per_second"]:  # a probe trains nothing, and members told theirs
        pace = (
            f", {record['images_per_second']:.0f} images/s in training, "
            f"{record['wait_share']:.1%} of it waiting for data"
        )
    return [
        *(
            f"not used: {row['name']}: {row['refused']}"
            for row in record.get("table", ())
            if "refused" in row
        ),
        *(f"note: {line}" for line in record.get("cautions", ())),
        *(
            f"confused: {label} taken for {predicted}, {counted(count, 'time')} ({share:.0%})"
            for label, predicted, count, share in record["confused"][:3]
        ),
        f"{record['seconds']:.0f} s{pace}",
        *_counted(record),
        f"model: {record['model']}",
        f"next: polyak predict {record['model']} PICTURES",
    ]
