"""The pages hold together: links lead somewhere, both languages say the same, cards are complete,
tables are those of the results."""

import re
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
PAGES = [*HOUSE.glob("*.md"), *sorted((HOUSE / "docs").rglob("*.md"))]
CARDS = sorted((HOUSE / "docs/methods").glob("*.md"))
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """List what a page links to within the house, images included."""
    found = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in found if "://" not in link]


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as links do."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOUSE)))
def test_links_lead_somewhere(page):
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def skeleton(page: Path) -> dict:
    """Take the words out of a page: what stays must be the same in every language."""
    text = page.read_text(encoding="utf-8")
    prose = FENCE.sub("", text)
    code = [re.sub(r"(^|\s)#.*", "", block) for block in FENCE.findall(text)]
    return {
        "headings": re.findall(r"^#+", prose, re.MULTILINE),
        "code": [" ".join(block.split()) for block in code],
        "tables": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
        "options": re.findall(r"^\| `(--[a-z-]+)", prose, re.MULTILINE),
        "files": re.findall(r"^\| `(\w+\.\w+|\w+/)`", prose, re.MULTILINE),
        "codes": re.findall(r"\| (\d+) \|", prose),
        "links": sorted(link for link in links(page) if not link.startswith("README")),
        "figures": sorted(re.findall(r"\d+\.\d+", prose)),
        "pictures": re.findall(r"!\[.+?\]\((.+?)\)", prose),
    }


def test_both_readmes_say_the_same():
    english, korean = (skeleton(HOUSE / name) for name in ("README.md", "README.ko.md"))
    assert len(english["headings"]) == 8
    for part, expected in english.items():
        assert korean[part] == expected, part


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_a_card_says_what_when_with_which_numbers_at_what_cost_and_who_found_it(card):
    text = card.read_text()
    parts = ("**What.**", "**When.**", "**Start with.**", "**Cost.**", "\n## Measured here")
    places = [text.find(part) for part in (*parts, "**Sources.**")]
    assert -1 not in places
    assert places == sorted(places)
    measured = text[places[-2] : places[-1]]
    assert re.search(r"^\|.*\d", measured, re.MULTILINE), "no table of figures"
    assert re.search(r"torch 2|benchmarks/", measured), "no command, no version"


def test_tables_are_those_of_the_results(monkeypatch):
    monkeypatch.syspath_prepend(str(HOUSE / "benchmarks"))
    for name in ("against", "card"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import against
    from card import filled

    for page, name, table in against.pages():
        text = page.read_text(encoding="utf-8")
        assert filled(text, name, table) == text, "python benchmarks/against.py"


@pytest.mark.parametrize("page", ["README.md", "README.ko.md", "docs/methods/optimizers.md"])
def test_who_divides_two_figures_of_a_table_finds_the_third(page):
    text = (HOUSE / page).read_text(encoding="utf-8")
    [table] = re.findall(r"<!-- (?:against|steps): begin -->\n(.*?)<!--", text, re.DOTALL)
    _, _, *rows = [line.strip("| ").split(" | ") for line in table.strip().splitlines()]
    assert len(rows) >= 8
    for what, *columns in rows:
        own, other, ratio = (float(one.split(" ")[0].replace(",", "")) for one in columns[:3])
        found = own / other if re.search(r"images/s|epoch|사진|에폭", what) else other / own
        assert found == pytest.approx(ratio, abs=0.005), what


def test_what_is_wrong_would_be_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Two words!\n[a](gone.md) [b](#two-words)\n```\n[c](inside)\n```\n")
    assert links(page) == ["gone.md", "#two-words"]
    assert anchors(page) == {"two-words"}
    assert skeleton(page)["headings"] == ["#"]
