"""Tables that benchmarks write into the cards of docs/methods, between two comments."""

from pathlib import Path

CARDS = Path(__file__).parent.parent / "docs/methods"


def insert(card, name, table):
    """Put a table into a card, between <!-- name: begin --> and <!-- name: end -->."""
    page = CARDS / f"{card}.md"
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.read_text().split(begin)
    page.write_text(f"{before}{begin}\n{table.strip()}\n{end}{rest.split(end)[1]}")
