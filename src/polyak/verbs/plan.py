"""`polyak plan`: which way of transfer learning pays on some pictures, measured."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from polyak.options import Number, Text, Word, option, parse
from polyak.train.recipe import ClassesFrom

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Colours = Annotated[tuple[float, float, float] | None, option("FLOAT FLOAT FLOAT")]


@dataclass
class Options:
    """Probe every stage of a pretrained network, try fine-tuning within a budget, and choose.

    Example: polyak plan photos --weights mobilenetv2_100.safetensors --budget 5m
    """

    data: Annotated[str, tyro.conf.Positional, option("DATA")]
    """folder, CSV or 'digits'"""
    classes_from: ClassesFrom = "auto"
    """which folder names the class: top, or the leaf that holds the images; auto refuses both"""
    max_pixels: Word = "64M"
    """of an image; larger ones are left out: 120M, 1G"""
    model: Word = "auto"
    """'auto' or any timm model name"""
    weights: Word = "hub"
    """a .safetensors or .pth file, or 'hub' (timm's own)"""
    mean: Colours = None
    """colours' mean in [0, 1] that the weights want"""
    std: Colours = None
    """colours' spread in [0, 1] that the weights want"""
    budget: Word = "5m"
    """wall clock for all: 90s, 10m, 2h"""
    size: Number = None
    """side of the network's pictures, pixels"""
    val: float = 0.1
    """share of train held out when no val exists"""
    batch_size: Number = None
    """pictures a step"""
    seed: int = 0
    """of the split and all that is drawn"""
    device: Word = "auto"
    """auto, cpu, cuda, mps"""
    threads: Number = None
    """compute threads; default all cores"""
    out: Text = None
    """file for the plan; default plan.json here, its page plan.html beside it"""


def run(arguments: list[str]) -> int:
    """Print what was measured, the choice, and the command that carries it out."""
    began = time.monotonic()
    options = parse(Options, arguments, "polyak plan")
    from rich.console import Console

    from polyak.errors import shown
    from polyak.files import write_atomic
    from polyak.report import draw_plan
    from polyak.train import recipe as recipes
    from polyak.train.plan import plan

    file = Path(options.out or "plan.json")
    chosen = {name: value for name, value in vars(options).items() if name != "out"}
    page = Console()
    records = told(plan(recipes.make(**chosen), began), page)
    write_atomic(file, json.dumps(records, indent=1))
    print(f"page: {shown(draw_plan(file))}\nfigures: {shown(file)}")
    return 0


def told(records: Iterable[dict], page: "Console") -> dict:
    """Print records as they come; gather what plan.json holds."""
    from polyak.console import say
    from polyak.train.plan import note
    from polyak.train.words import lines

    kept: dict = {"stages": [], "curve": [], "cell": None, "trials": []}
    for record in records:
        note(kept, record)
        if record["kind"] == "cell":
            page.print(_lecture(record))
        if record["kind"] == "plan":
            page.print(_measured(record))
            _conclude(record, page)
        for line in lines(record):
            say(line, page)
    return kept


def _lecture(cell: dict) -> "Table":
    """Draw the lecture's table; the data's own cell stands in brackets."""
    from rich.table import Table

    from polyak.transfer.planner import CELLS

    def entry(amount: str, kind: str) -> str:
        text = CELLS[amount, kind]
        here = (amount, kind) == (cell["amount"], cell["data"])
        return f"> {text} <" if here else text

    table = Table("", "similar to the source", "different from it")
    for amount in ("little", "much"):
        table.add_row(f"{amount} data", *(entry(amount, kind) for kind in ("similar", "different")))
    return table


def _measured(facts: dict) -> "Table":
    from rich.table import Table

    table = Table("strategy", "accuracy", "95 % interval", "NLL", "seconds", "of a run", "images")
    for row in facts["rows"]:
        value, low, high = (row["accuracy"][part] for part in ("value", "low", "high"))
        table.add_row(
            row["strategy"], f"{value:.2%}", f"{low:.2%} to {high:.2%}",
            f"{row['nll']['value']:.3f}", f"{row['seconds']:.0f}", f"{row['share']:.1%}",
            str(row["n"]),
        )  # fmt: skip
    return table


def _conclude(facts: dict, page: "Console") -> None:
    from polyak.console import say

    say(f"choice: {facts['chosen']} ({facts['why']}); the lecture: {facts['lecture']}", page)
    if facts["accuracy"] is not None:
        low, high = facts["accuracy"]["low"], facts["accuracy"]["high"]
        took = f" in about {facts['seconds'] / 60:.1f} minutes" if facts["seconds"] else ""
        say(f"expected: {low:.1%} to {high:.1%}{took}", page)
    for note in facts["notes"]:
        say(f"note: {note}", page)
    say(f"next: {facts['command']}", page)
