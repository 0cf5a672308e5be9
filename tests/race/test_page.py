"""The page in a headless browser: it plays, sliders work, and it asks the network for nothing."""

import html
import json
import re
import time

import numpy as np
import pytest

from browser import needs_browser, opened, wait
from polyak import cli
from polyak.race import RULES, SURFACES, board, trail
from polyak.race.page import render

LENGTHS = "return byId('picture').data.slice(0, 6).map((t) => t.x.length)"
CELLS = """return [...document.querySelectorAll('#results tr')].map(
    (r) => [...r.cells].filter((c) => !c.hidden).map((c) => c.textContent))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the page of the surfaces, made by the command."""
    out = tmp_path_factory.mktemp("race") / "new"
    assert cli.main(["race", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all tests of this file."""
    with opened(tmp_path_factory.mktemp("profile")) as found:
        yield found


def show(browser, folder, **how):
    browser.open(folder / "race.html", **how)
    wait(browser, "return document.querySelectorAll('#results tr').length === 6")


def slide(browser, name, value):
    """Move a slider as a hand would."""
    script = """const slider = byId(arguments_[0]);
    slider.value = arguments_[1]; slider.dispatchEvent(new Event('input'));"""
    browser.run(script, name, value)


def cells(browser):
    return {row[0]: row[1:] for row in browser.run(CELLS)}


# the file


def test_the_files_hold_the_same_as_the_paths(folder):
    data = json.loads((folder / "race.json").read_text())
    assert (data["version"], data["steps"], list(data["surfaces"])) == (1, 200, list(SURFACES))
    rows = data["surfaces"]["ravine"]["results"]
    assert len(rows) == 4 * 10 + 2 * 10 * 6
    wanted = ("momentum", 0.02, 0.9)
    row = next(r for r in rows if (r["rule"], r["learning_rate"], r["rho"]) == wanted)
    path = trail(SURFACES["ravine"], RULES["momentum"], 0.02, 0.9)
    assert row["distance"] == pytest.approx(float(np.hypot(*path[-1])), rel=1e-3)


def test_packed_paths_unpack_to_the_path():
    surface = SURFACES["beale"]
    path = trail(surface, RULES["adam"], 0.05)
    points = np.cumsum(np.array(board.pack(surface, path)).reshape(-1, 2), axis=0) / board.GRID
    low, high = np.array([surface.x_range, surface.y_range]).T
    np.testing.assert_allclose(low + points * (high - low), path, atol=6 / board.GRID)


def test_the_page_names_no_other_place(folder):
    text = (folder / "race.html").read_text()
    ours = text[: text.index("<script>")] + text[text.rindex("<script>") :]
    assert "http://" not in ours and "https://" not in ours
    assert not re.search(r"<(script|img|iframe|object|embed)[^>]*\ssrc=", ours)
    assert "default-src 'none'" in html.unescape(ours)
    assert text.count("* plotly.js v") == 1
    assert len(text) < 7_000_000


def test_what_comes_from_outside_stays_text():
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    data = {"name": hostile, "rules": [], "surfaces": []}
    page = render("surfaces.html", "surfaces.js", data, steps=1, rates=hostile)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found and json.loads(found[1])["name"] == hostile


def test_the_command_prints_the_tables(tmp_path, capsys):
    assert cli.main(["race", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert all(surface.title in said for surface in SURFACES.values())
    assert "never" in said and "race.html" in said


def test_a_folder_that_cannot_be_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["race", "--out", str(tmp_path / "file" / "x")]) == 74
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


# in the browser


@needs_browser
def test_it_opens_without_a_word_and_asks_for_nothing(browser, folder):
    show(browser, folder)
    for number in range(len(SURFACES)):
        browser.run("await pick(data.surfaces[arguments_[0]])", number)
        assert list(cells(browser)) == list(RULES)
    assert browser.console() == []
    asked = [address for address in browser.requests() if not address.startswith("data:")]
    assert asked == [(folder / "race.html").resolve().as_uri()]


@needs_browser
def test_the_network_is_closed_to_it(browser, folder):
    show(browser, folder)
    script = "try { await fetch('http://127.0.0.1:9/'); return 1 } catch (e) { return 0 }"
    assert browser.run(script) == 0
    assert any("Content Security Policy" in line for line in browser.console())


@needs_browser
def test_it_plays_pauses_and_ends(browser, folder):
    show(browser, folder)
    assert browser.run(LENGTHS) == [201] * 6
    browser.run("byId('play').click()")
    wait(browser, "return state.step > 5 && state.playing")
    assert browser.run("return byId('play').getAttribute('aria-label')") == "pause"
    step = browser.run("byId('play').click(); return state.step")
    time.sleep(0.3)
    assert browser.run("return state.step") == step
    slide(browser, "step", 195)
    browser.run("byId('play').click()")
    wait(browser, "return state.step === 200 && !state.playing")
    assert browser.console() == []


@needs_browser
def test_the_step_slider_cuts_the_paths(browser, folder):
    show(browser, folder)
    slide(browser, "step", 37)
    wait(browser, "return byId('picture').data[0].x.length === 38")
    assert browser.run(LENGTHS) == [38] * 6
    last = browser.run("const t = byId('picture').data[1]; return [t.x[37], t.y[37]]")
    path = trail(SURFACES["saddle"], RULES["momentum"], 0.02)
    assert last == pytest.approx(path[37].tolist(), abs=1e-3)


@needs_browser
def test_rate_and_rho_sliders_choose_other_runs(browser, folder):
    show(browser, folder)
    browser.run("await pick(data.surfaces[2])")
    before = cells(browser)
    assert [row[0] for row in before.values()] == ["0.02"] * 6
    slide(browser, "rho", 0)
    after = cells(browser)
    assert after["momentum"][-1] == after["sgd"][-1]  # rho 0 is sgd
    assert after["adam"] == before["adam"]
    slide(browser, "rate", 5)
    assert cells(browser)["sgd"][-1] == "left the picture at step 1"
    browser.run("byId('best').click()")
    assert len({row[0] for row in cells(browser).values()}) > 1
    assert browser.run("return byId('rate').disabled")
    assert browser.console() == []


@needs_browser
def test_a_press_on_a_name_hides_its_path(browser, folder):
    show(browser, folder)
    browser.run("document.querySelector('#results .key').click()")
    wait(browser, "return byId('picture').data[0].x.length === 0")
    assert browser.run(LENGTHS) == [0] + [201] * 5
    browser.run("document.querySelector('#results .key').click()")
    wait(browser, "return byId('picture').data[0].x.length === 201")


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_can_read_it(browser, folder, theme):
    show(browser, folder, width=390, height=844, theme=theme)
    assert browser.run("return document.documentElement.scrollWidth") == 390
    assert browser.run("return document.querySelector('.scroll').scrollWidth") <= 366
    script = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    ink, paper = (
        sum(int(number) for number in re.findall(r"\d+", colour)[:3])
        for colour in browser.run(script)
    )
    assert (ink < paper) == (theme == "light")
    assert abs(ink - paper) > 400
