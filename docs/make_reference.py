"""Write the table of options in docs/reference.md from the recipe itself.

python docs/make_reference.py
"""

from pathlib import Path
from typing import Any

from polyak.recipe.recipe import Recipe

PAGE = Path(__file__).parent / "reference.md"
BEGIN, END = "<!-- options: begin -->", "<!-- options: end -->"
BESIDE = {  # options of the command that are no choices of a recipe
    "resume": "continue the newest unfinished run, or the one that `--name` says, "
    "also where its data has moved",
    "config FILE": "start from an earlier run's `config.yaml`",
}


def shown(value: Any) -> str:
    """Write a default as people type it; nothing where there is none."""
    if value in (None, ""):
        return ""
    values = value if isinstance(value, tuple) else (value,)
    return f"`{' '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in values)}`"


def table() -> str:
    """Lay out every option of `polyak train`: its name, its default, what it does."""
    rows = [
        (f"--{name.replace('_', '-')}", shown(field.default), field.description or "")
        for name, field in Recipe.model_fields.items()
        if name != "data"
    ]
    rows += [(f"--{name}", "", meaning) for name, meaning in BESIDE.items()]
    lines = ["| option | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in rows]
    return "\n".join(lines)


def page(text: str) -> str:
    """Put the table into the page."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
