"""Tables that benchmarks write into pages, between two comments."""

from pathlib import Path

CARDS = Path(__file__).parent.parent / "docs/methods"


def insert(page, name, table):
    """Put a table into a page, between <!-- name: begin --> and <!-- name: end -->.

    page: a card of docs/methods by name, or a file.
    """
    page = page if isinstance(page, Path) else CARDS / f"{page}.md"
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.read_text().split(begin)
    page.write_text(f"{before}{begin}\n{table.strip()}\n{end}{rest.split(end)[1]}")
