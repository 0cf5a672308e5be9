"""Tables that benchmarks write into pages, between two comments."""

from pathlib import Path

CARDS = Path(__file__).parent.parent / "docs/methods"


def insert(card, name, table):
    """Put a table into a card, between <!-- name: begin --> and <!-- name: end -->."""
    page = CARDS / f"{card}.md"
    page.write_text(filled(page.read_text(), name, table))


def filled(text, name, table):
    """Give a page with a table between its two comments."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    return f"{before}{begin}\n{table.strip()}\n{end}{rest.split(end)[1]}"
