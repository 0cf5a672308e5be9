"""`polyak ensemble`: finished runs joined into one model file."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from polyak.errors import UsageError, counted, shown
from polyak.options import File, Split, Text, Word, option, parse, pixels
from polyak.recipe.recipe import ClassesFrom

if TYPE_CHECKING:
    import numpy as np

    from polyak.model import Classifier
    from polyak.model.held_out import HeldOut
    from polyak.targets import TargetKind


@dataclass
class Options:
    """Join finished runs or model files of the same classes into one model: any architectures, any
    sizes of images; the mean of their probabilities, each at its own temperature.

    Example: polyak ensemble runs/a runs/b runs/c --out joined.safetensors --data photos --split val
    """

    models: Annotated[tuple[str, ...], tyro.conf.Positional, option("MODEL...")]
    """run directories or model files"""
    out: File = None
    """the model file to write"""
    data: Text = None
    """folder, CSV or 'digits': measure every member and the whole on it"""
    split: Split = None
    """a part of the data, as the members' runs split it; default test where the data has it, else
    all, without what a member was trained on"""
    classes_from: ClassesFrom = "auto"
    """which folder names the class: top, or the leaf that holds the images; auto refuses both"""
    label_separator: Word = ";"
    """between labels in a table's column labels"""
    max_pixels: Text = None
    """of an image; larger ones are left out: 120M, 1G; default 64M"""
    fit: bool = False
    """select members and fit the temperature of the whole on the data; keep others to judge by"""
    soup: Annotated[Literal["uniform", "greedy"] | None, option("{uniform,greedy}")] = None
    """one network of the members' mean weights: of all, or best first while the data gets better"""
    mean: Literal["probabilities", "logits"] = "probabilities"
    """of what"""
    device: Word = "cpu"
    """cpu, cuda or mps"""


def run(arguments: list[str]) -> int:
    """Join models into one file; measure them where there is data."""
    options = parse(Options, arguments, "polyak ensemble")
    if not options.models or options.out is None:
        then = "polyak ensemble RUN... --out FILE"
        raise UsageError("name the runs to join and the file to write", then=then)
    if options.fit and options.data is None:
        raise UsageError("--fit needs images that no member was trained on", then="add --data")
    if options.soup and (options.data is None or options.fit):
        why = "its choices and its temperature are of the data"
        raise UsageError("--soup needs images", why=why, then="add --data, leave --fit away")
    from polyak.model import join, load, save
    from polyak.model.held_out import LabelledData, held_out
    from polyak.model.known_splits import CHOSEN_ON, as_text

    whole = join([load(name, device=options.device) for name in options.models])
    whole.mean, whole.pixel_cap = options.mean, pixels(options.max_pixels)
    header: dict[str, Any] = {"members": [shown(name) for name in options.models]}
    if options.data is not None:
        asked = LabelledData(
            options.data, options.split, options.classes_from, options.label_separator
        )
        judges = held_out(asked, whole.classes, whole.files, whole.pixel_cap, whole.kind)
        if options.fit or options.soup:
            header[CHOSEN_ON] = as_text(judges.dataset.digests)
        whole = measured(whole, judges, options)
        if options.soup:
            whole = souped(whole, judges, options)
    whole.header = header
    weights = {"soup": whole.network.state_dict()} if options.soup else {}
    save(options.out, weights, whole, "soup" if options.soup else "members")
    count = len(whole.weights)
    members = f"{count} members" if count > 1 else "one network"
    passes = f"{count} forward passes" if count > 1 else "one forward pass"
    print(f"{members}, {passes} an image: {shown(options.out)}")
    print(f"next: polyak predict {shown(options.out)} IMAGES")
    return 0


def measured(whole: "Classifier", judges: "HeldOut", options: Options) -> "Classifier":
    """Print how good every member and the whole are; with --fit, select and calibrate."""
    import numpy as np

    from polyak.ensemble import combine, greedy

    logs, _ = whole.log_probabilities(whole.opened(judges.dataset), device=options.device)
    read = np.flatnonzero(~np.isnan(logs).any(axis=(0, 2)))
    judges = judges.read(read)
    logs, labels = logs[:, read], judges.dataset.labels
    print(judges.counts.line(), *(f"note: {note}" for note in judges.counts.notes()), sep="\n")
    for number, answers in enumerate(logs):
        print(f"member {number + 1:<3} {_figures(np.exp(answers), labels, whole.kind)}")
    print(f"together   {_figures(whole.together(logs), labels, whole.kind)}")
    if options.fit:
        chosen = greedy(logs, labels)
        running = [member for member in whole.members if member.weight > 0]
        for number, member in enumerate(running):
            running[number] = replace(member, weight=float(chosen.count(number)))
        mean = combine(logs[chosen], None, whole.mean, whole.kind)
        temperature = whole.kind.temperature(mean, labels)
        parts = whole.classes, temperature, whole.views, whole.header, whole.mean
        whole = type(whole)(running, *parts)
        answers = whole.together(logs[sorted(set(chosen))])
        whole.kind = whole.kind.fitted(answers, labels)
        print(f"selected   {_figures(answers, labels, whole.kind)}  (and chosen by these)")
    print(
        f"{counted(len(labels), 'image')}; accuracy, NLL and calibration error with 95 % intervals"
    )
    return whole


def souped(whole: "Classifier", judges: "HeldOut", options: Options) -> "Classifier":
    """Mix the members' weights to one network, and print how good it is."""
    from polyak.model.soups import SoupBuilder

    held_out = judges.dataset
    training = judges.training if len(judges.training) else held_out
    builder = SoupBuilder(whole, training, held_out, options.device)
    one, chosen = builder.build(greedily=options.soup == "greedy")
    answers, failed = one.probabilities(one.opened(held_out), device=options.device)
    read = [i for i in range(len(held_out)) if i not in dict(failed)]
    one.kind = one.kind.fitted(answers[read], held_out.labels[read])
    figures = _figures(answers[read], held_out.labels[read], one.kind)
    print(f"soup       {figures}  (and calibrated on these)")
    print(f"ingredients: members {', '.join(str(number + 1) for number in sorted(chosen))}")
    return one


def _figures(probabilities: "np.ndarray", labels: "np.ndarray", kind: "TargetKind") -> str:
    if not kind.several:  # rows that float32 rounded
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    found = kind.evaluate(probabilities, labels)
    first = f"accuracy {found.accuracy}" if found.map is None else f"mAP {found.map}"
    return f"{first}  nll {found.nll}  ece {found.ece}"
