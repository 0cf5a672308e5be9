"""What a person sees: a bar on a terminal, lines in a log, nothing in it taken for markup."""

import io

import numpy as np
from rich.console import Console

from polyak import console
from polyak.model import Predictions
from polyak.rundir.journal import read_event

START = {
    "kind": "start", "run": "runs/[red]x", "resumed": False, "step": 0, "steps": 4, "found": 10,
    "left_out": 1, "train": 7, "val": 2, "test": 0, "classes": 2, "model": "compact",
    "device": "cpu", "precision": "float32: asked for", "decided": {"batch_size": ["4", "few"]},
    "warnings": ["a \x1b[2J [/] name"], "threads": {"compute": 1, "loader": 1},
}  # fmt: skip
FIGURE = {"value": 0.5, "low": 0.25, "high": 0.75}
END = {
    "kind": "end", "chosen": "average", "confused": [["[b]cat", "dog", 3, 0.5]], "left_out": 1,
    "evaluation": {"split": "val", "accuracy": FIGURE, "nll": FIGURE, "ece": FIGURE, "n": 4},
    "temperature": 1.0, "candidates": {}, "seconds": 12.0, "images_per_second": 3.0,
    "wait_share": 0.01, "model": "runs/m.safetensors",
}  # fmt: skip
STEP = {"kind": "step", "step": 1, "epoch": 0, "progress": 0.5, "loss": 1.0}


def follow(records, **how) -> str:
    page = io.StringIO()
    console.follow(map(read_event, records), Console(file=page, width=100, **how))
    return page.getvalue()


def test_a_log_has_plain_lines():
    text = follow([START, STEP, END])
    assert "10 files found = 9 used + 1 left out; 7 train, 2 val; 2 classes" in text
    assert "batch-size = 4  (few)" in text
    assert "[red]x" in text
    assert "\x1b" not in text
    assert "\\x1b[2J [/] name" in text


def test_the_end_says_how_good_how_sure_and_what_next():
    text = follow([END])
    assert "50.00%" in text
    assert "25.00% to 75.00%" in text
    assert "which also chose" in text
    assert "[b]cat taken for dog, 3 times (50%)" in text
    assert "1 file left out (quarantine.csv)" in text
    assert "next: polyak predict runs/m.safetensors" in text


def test_a_run_without_held_out_images_admits_it():
    assert "was not measured" in follow([END | {"evaluation": None}])


def test_a_terminal_gets_a_bar_and_the_same_lines():
    text = follow([START, STEP, STEP, END], force_terminal=True)
    assert "epoch 1  loss 1.000" in text
    assert "next: polyak predict" in text


def test_a_table_of_predictions_takes_no_markup():
    numbers = np.array([[0.9, 0.1], [np.nan, np.nan]])
    said = Predictions(["[/x].png", "b.png"], numbers, ("[a]", "b"), [("b.png", "?")])
    page = io.StringIO()
    Console(file=page, width=100).print(console.predictions(said, 2))
    assert "[/x].png" in page.getvalue()
    assert "[a] 90.0%" in page.getvalue()
    assert "unreadable" in page.getvalue()


CANDIDATES = ("average", "weights", "best snapshot", "uniform soup", "20 of 20 snapshots, weighted")


def table_of(width: int) -> str:
    """What is shown at the end of a run with many candidates, at a width."""
    figure = {"value": 0.8765, "low": 0.8123, "high": 0.9456}
    rows = [
        {"name": name, "chosen": name == "average", "split": "val", "views": "flip+shift",
         "passes": 120, "share": 0.5, "accuracy": figure, "nll": figure, "ece": figure}
        for name in CANDIDATES
    ]  # fmt: skip
    refused = {"name": "greedy soup", "refused": "its best ingredient alone is no worse"}
    page = io.StringIO()
    end = END | {"table": [*rows, refused], "rule": "lowest NLL"}
    console.follow([read_event(end)], Console(file=page, width=width))
    return page.getvalue()


def test_the_table_of_candidates_takes_two_lines_a_row_where_80_columns_are_all_there_is():
    said = table_of(80)
    said = said[said.index("the candidates on") : said.index("not used")]
    assert max(map(len, said.splitlines())) <= 80 and "…" not in said
    lines = said[said.index("95 % interval") :].splitlines()
    rows = [n for n, line in enumerate(lines) if line[2:].startswith(CANDIDATES)]
    assert len(rows) == len(CANDIDATES) and set(np.diff(rows)) == {2}
    first, second = lines[rows[0]], lines[rows[0] + 1]
    assert "* average" in first and first.count("87.65%") == 2 and "0.876" in first
    assert "flip+shift, 0.1, 120" in second and "0.812 to 0.946" in second
    assert second.count("81.23 to 94.56%") == 2


def test_the_table_of_candidates_takes_one_line_a_row_where_there_is_room():
    lines = [line for line in table_of(170).splitlines() if "87.65%" in line]
    assert len(lines) == len(CANDIDATES)
    assert all("87.65% (81.23% to 94.56%)" in line and " 120 " in line for line in lines)


def test_the_table_of_candidates_tells_price_and_reason():
    figure = {"value": 0.9, "low": 0.8, "high": 0.95}
    row = {"name": "3 [bold]members", "chosen": True, "split": "val", "views": "one", "passes": 3,
           "share": 0.5, "accuracy": figure, "nll": figure, "ece": figure}  # fmt: skip
    end = END | {"table": [row, {"name": "soup", "refused": "not in one basin"}], "seconds": 600,
                 "evaluation": {"n": 24}, "rule": "lowest NLL"}  # fmt: skip
    page = Console(width=160, record=True, file=io.StringIO())
    page.print(console.candidates(read_event(end)))
    said = page.export_text()
    assert "* 3 [bold]members" in said and "90.00% (80.00% to 95.00%)" in said
    assert "5.0" in said and "soup" not in said  # what was refused is told below it
    assert "which also chose: expect a little less" in said and "chosen: lowest NLL" in said


def test_one_of_a_thing_is_one():
    one = END | {"confused": [["cat", "dog", 1, 1.0]]}
    one["evaluation"] = END["evaluation"] | {"n": 1}
    said = " ".join(follow([START | {"found": 1, "left_out": 0, "steps": 1}, one]).split())
    for right in (
        "1 file found",
        "1 step; run",
        "1 time (100%)",
        "1 file left out",
        "on 1 image of",
    ):
        assert right in said
