"""`polyak race`: optimizers side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from polyak.options import parse


@dataclass
class Options:
    """Race the lecture's update rules over surfaces, as a page to play with.

    Example: polyak race --out pages
    """

    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path()
    """folder of race.html and race.json"""


def run(arguments: list[str]) -> int:
    """Race, write the page, print the table."""
    options = parse(Options, arguments, "polyak race")
    from rich.console import Console

    page = Console()
    for name, rows in surfaces(options.out).items():
        page.print(_surface(name, rows))
    _say_where(options.out)
    return 0


def surfaces(out: Path) -> dict[str, list[dict]]:
    """Write the page of the surfaces."""
    from polyak.race import write_surfaces

    return write_surfaces(out)


def _surface(name: str, rows: list[dict]):
    from rich.table import Table

    from polyak.race import SURFACES

    surface = SURFACES[name]
    table = Table(title=surface.title, title_justify="left", title_style="bold")
    table.add_column("rule")
    columns = ["rate", *(["steps to leave"] if surface.free else []), "overshoot", "distance"]
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        cells = [f"{row['learning_rate']:g}", f"{row['overshoot']:.2g}", _end(row)]
        if surface.free:
            leave = row["steps_to_leave"]
            cells.insert(1, "never" if leave is None else str(leave))
        table.add_row(row["rule"], *cells)
    return table


def _end(row: dict) -> str:
    left = row["left_picture"]
    return f"{row['distance']:.2g}" if left is None else f"left the picture at step {left}"


def _say_where(out: Path) -> None:
    from polyak.errors import shown

    print(f"page: {shown(out / 'race.html')}\nfigures: {shown(out / 'race.json')}")
