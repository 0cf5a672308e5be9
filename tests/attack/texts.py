"""Recipes, tables and pages of JSON: text damaged, values edited, syntax abused."""

import json

import numpy as np
import yaml

from attack.edits import Draw, damaged, edited, hostile, nested

YAML = (
    "a: !!python/object/apply:os.system ['true']",
    "a: !!binary 'a'",
    "a: !!timestamp x",
    "a: &a [1]",
    "b: *a",
    "<<: *a",
    "a: 2001-99-99",
    "a: 1:99:99",
    "a: 0x",
    "a: 0o9",
    "a: .inf",
    "a: =",
    "a: !!set {1}",
    "a: !!omap [1]",
    "a: !!float x",
    "a: !!int x",
    "a: !!bool x",
    "a: !!null x",
    "? [a, b]\n: 1",
    "%YAML 9.9",
    "---",
    "...",
    "\ta: 1",
    'a: "\\x"',
    "a: 'x",
    "a: |\n x",
    "a: {b",
    "a: [1,,2]",
    "1: 2",
    "!!str a: 1",
    "a: 1" + "0" * 5000,
    "\ufeffa: 1",
    "a: 0b2",
    "a: !<x> y",
    "a: !!python/name:os.system",
    "a: 9999-12-31T23:59:60Z",
    "null: 1",
    "a: 1_000_",
    "- a",
)
CSV = (
    '"',
    '""',
    "\0",
    "\r",
    "\r\n",
    ",",
    ",,,,",
    "\ufeff",
    "x" * 140_000,
    '"' + "x\n" * 5_000,
    "=1+1",
    "../../x.png",
    "/etc/passwd",
    "C:\\x.png",
    "http://x/y.png",
    "nan",
    " ",
    "\t",
    ";",
    "\u2028",
    "é",
    "path,label",
    "train",
    "dev",
    "'=x",
    ".",
    "..",
    "a/../b.png",
    "a//b.png",
    "\x1b[2J",
    "1e999",
    "-1",
)


def recipe(text: str, draw: Draw) -> bytes:
    """Change a page of options."""
    match draw.integers(5):
        case 0:
            return damaged(text.encode(), draw)
        case 1:
            return _inserted(text, YAML, draw)
        case 2:
            return f"{text}\nmore: {nested(draw)}\n".encode()
        case 3:
            return yaml.safe_dump(hostile(draw), allow_unicode=True).encode("utf-8", "replace")
    page = edited(yaml.safe_load(text), draw)
    return yaml.safe_dump(page, allow_unicode=True).encode("utf-8", "replace")


def table(text: str, draw: Draw) -> bytes:
    """Change a table."""
    if not draw.integers(3):
        return damaged(text.encode(), draw)
    if not draw.integers(3):
        return _inserted(text, CSV, draw)
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(draw.integers(1, 5)):
        row = rows[draw.integers(len(rows)) if draw.integers(3) else 0]
        place = draw.integers(len(row) + 1)
        row[place : place + int(draw.integers(2))] = [CSV[draw.integers(len(CSV))]]
    ends = ("\n", "\r\n", "\r")[draw.integers(3)]
    return ends.join(",".join(row) for row in rows).encode("utf-8", "surrogateescape")


def json_page(text: str, draw: Draw) -> bytes:
    """Change a page of JSON, or one line of many."""
    match draw.integers(5):
        case 0:
            return damaged(text.encode(), draw)
        case 1:
            return nested(draw).encode()
        case 2:
            return json.dumps(hostile(draw)).encode()
    lines = text.strip().split("\n")
    whole = not all(map(_is_json, lines))
    lines, place = ([text], 0) if whole else (lines, int(draw.integers(len(lines))))
    lines[place] = json.dumps(edited(json.loads(lines[place]), draw))
    return ("\n".join(lines) + "\n" * bool(draw.integers(8))).encode()


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _inserted(text: str, words: tuple[str, ...], draw: Draw) -> bytes:
    """Put one to three strange words between the lines of a text, or in the middle of them."""
    for word in np.array(words, object)[draw.integers(0, len(words), draw.integers(1, 4))]:
        if draw.integers(3):
            lines = text.split("\n")
            lines.insert(int(draw.integers(len(lines) + 1)), word)
            text = "\n".join(lines)
        else:
            at = int(draw.integers(len(text) + 1))
            text = text[:at] + word + text[at:]
    return text.encode("utf-8", "surrogateescape")
