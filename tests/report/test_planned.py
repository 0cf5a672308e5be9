"""A plan on the page of its run and on a page of its own: what was measured, and nothing else."""

import copy
import json
import re

import html5lib
import pytest

from browser import needs_browser, opened
from polyak import cli
from polyak.errors import RefusedError
from polyak.report import draw_plan, report
from polyak.report import page as pages
from polyak.report.planned import read_plan
from polyak.transfer.planner import CELLS
from written import INJECTIONS, run_directory, shape


def figure(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def a_plan(names=("blocks.0", "head"), amount="little", data="different"):
    return {
        "counts": {"ants": 20, "bees": 30},
        "stages": [{"stage": n, "accuracy": 0.6 + i / 10, "nll": 1.0, "l2": 0.1}
                   for i, n in enumerate(names)],
        "curve": [{"each": n, "n": 2 * n, "accuracy": 0.5 + n / 40, "spread": 0.02}
                  for n in (5, 10)],
        "cell": {"amount": amount, "data": data, "why": names[0], "strategy": "stages"},
        "trials": [],
        "rows": [{"strategy": s, "accuracy": figure(a), "nll": figure(0.4321), "seconds": 12.0,
                  "share": 0.37, "n": 150} for s, a in (("linear", 0.81), ("stages", 0.875))],
        "chosen": "stages", "why": names[-1], "lecture": "stages", "seconds": 12.0,
        "accuracy": figure(0.875), "notes": [names[0]], "command": f"polyak train {names[0]}",
    }  # fmt: skip


def write(folder, plan):
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder / "plan.json"


def cells(page):
    """Read the table of two by two: (row, column) -> (its strategy, whether it is marked)."""
    tree = html5lib.parse(page.read_text(), namespaceHTMLElements=False)
    (table,) = [one for one in tree.iter("table") if one.get("class") == "lecture"]
    rows = [row.findall("td") for row in table.iter("tr")][1:]
    return {
        (amount, data): (cell.find("code").text, "here" in cell.get("class"))
        for amount, row in zip(("little", "much"), rows, strict=True)
        for data, cell in zip(("similar", "different"), row, strict=True)
    }


@pytest.mark.parametrize("place", list(CELLS))
def test_the_lectures_table_marks_the_datas_cell(place, tmp_path):
    found = cells(draw_plan(write(tmp_path, a_plan(amount=place[0], data=place[1]))))
    assert {where: strategy for where, (strategy, _) in found.items()} == CELLS
    assert [where for where, (_, marked) in found.items() if marked] == [place]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_run_shows_the_plan_that_lies_in_its_directory(language, tmp_path):
    folder = run_directory(tmp_path / "run", ["a", "b", "c"])
    without = report(folder, language).read_text()
    write(folder, a_plan())
    text = report(folder, language).read_text()
    assert text.count("<svg") == without.count("<svg") + 1
    for said in (
        "81.00%",
        "87.50%",
        "82.50%",
        "92.50%",
        "blocks.0",
        "0.432",
        "<td>12</td><td>37.0%</td>",
    ):
        assert said in text and said not in without
    assert re.search(r'class="chosen"><td>stages', text)
    chart = next(svg for svg in re.findall("<svg.*?</svg>", text, re.DOTALL) if "blocks.0" in svg)
    assert ">10<" in chart and ">head<" in chart


def test_a_plan_is_handed_to_a_run(tmp_path, capsys):
    folder = run_directory(tmp_path / "run", ["a", "b", "c"])
    file = write(tmp_path, a_plan())
    assert cli.main(["report", str(folder), "--plan", str(file)]) == 0
    assert "87.50%" in (folder / "report.html").read_text()
    assert json.loads((folder / "plan.json").read_text()) == a_plan()
    assert cli.main(["report", str(folder), str(folder), "--plan", str(file)]) == 64
    assert cli.main(["report", str(file), "--language", "ko"]) == 0
    assert "polyak train" in (tmp_path / "plan.html").read_text()
    capsys.readouterr()


def test_names_in_a_plan_make_no_elements(tmp_path):
    plain = write(tmp_path, a_plan([f"stage {i}" for i in range(len(INJECTIONS))]))
    expected = shape(draw_plan(plain))
    found = shape(draw_plan(write(tmp_path, a_plan(INJECTIONS))))
    assert set(found) == set(expected)  # how many ticks a chart has depends on how long names are
    written = {k: n for k, n in found.items() if "svg" not in k[0]}
    assert written == {k: n for k, n in expected.items() if "svg" not in k[0]}


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.pop("chosen"),
        lambda plan: plan["rows"].append({"strategy": "all"}),
        lambda plan: plan["cell"].update(amount="some"),
        lambda plan: plan["stages"][0].update(accuracy="high"),
        lambda plan: plan.update(notes=3),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(change, tmp_path, capsys):
    damaged = copy.deepcopy(a_plan())
    change(damaged)
    file = write(run_directory(tmp_path / "run", ["a", "b", "c"]), damaged)
    with pytest.raises(RefusedError, match="no plan"):
        read_plan(file)
    assert cli.main(["report", str(tmp_path / "run")]) == 76
    assert capsys.readouterr().err.count("\n") == 1
    file.write_text("{")
    assert cli.main(["report", str(file)]) == 76


def test_an_empty_plan_has_no_chart(tmp_path):
    plan = a_plan() | {"stages": [], "curve": [], "rows": [], "cell": None}
    text = draw_plan(write(tmp_path, plan)).read_text()
    assert "<svg" not in text and 'class="left here"' not in text
    assert pages.planned.content(None, "en") == {"plan": None, "probes": ""}


@needs_browser
@pytest.mark.parametrize(("width", "theme"), [(1000, "light"), (390, "dark")])
def test_a_plans_page_is_quiet_and_fits(tmp_path, width, theme):
    page = draw_plan(write(tmp_path, a_plan([f"blocks.{i}.attention" for i in range(12)])), "ko")
    with opened(tmp_path / "profile") as browser:
        browser.open(page, width=width, theme=theme)
        wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, "the page itself must not scroll sideways"
        assert browser.console() == []
        assert browser.requests() == [page.resolve().as_uri()]
