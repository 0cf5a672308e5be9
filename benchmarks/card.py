"""Tables that benchmarks write into docs/methods/augmentation.md, between two comments."""

from pathlib import Path

CARD = Path(__file__).parent.parent / "docs/methods/augmentation.md"


def insert(name, table):
    """Put a table between <!-- name: begin --> and <!-- name: end -->."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = CARD.read_text().split(begin)
    CARD.write_text(f"{before}{begin}\n{table.strip()}\n{end}{rest.split(end)[1]}")
