"""Run directories written by hand: exact figures, and names that try to be more than names."""

import csv
import json
from collections import Counter
from pathlib import Path

import html5lib
import numpy as np
from safetensors.numpy import save_file

from polyak import metrics

FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6}
INJECTIONS = [
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    '" style="position:fixed"',
    "<b>bold</b>",
    "</style><style>*{display:none}</style>",
    "</pre><h1>x</h1>",
    "</svg><script>1</script>",
    "&lt;b&gt;",
    "<!-- ",
    "-->",
    "<![CDATA[<script>1</script>]]>",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "${7*7}",
    "javascript:alert(1)",
    "<iframe src=//example.org>",
    "<a href=javascript:alert(1)>x</a>",
    "<base href=//example.org>",
    "<meta http-equiv=refresh content=0>",
    "<link rel=stylesheet href=//example.org>",
    "<math><mi>x",
    "<details open ontoggle=alert(1)>",
    "<template><script>1</script></template>",
    "\u202ertl",
    "line\nbreak",
    "\x1b[31mred",
    "$x_1^2$",
]


def run_directory(
    folder: Path, names: list[str], data: str = "", n: int = 90, path="{}.jpg"
) -> Path:
    """Write a run directory by hand: predictions for n images of some classes."""
    folder.mkdir(parents=True)
    (folder / "predictions").mkdir()
    k = len(names)
    rng = np.random.default_rng(0)
    labels = np.arange(n) % k
    p = metrics.softmax(rng.normal(size=(n, k)) + 2 * np.eye(k)[labels]).astype(np.float32)
    paths = [path.format(f"{names[label]}/{i}") for i, label in enumerate(labels)]
    rows = [
        {"path": a, "label": names[b], "split": "val"} for a, b in zip(paths, labels, strict=True)
    ]
    write_csv(folder / "split.csv", rows)
    write_csv(folder / "predictions/val.csv", rows)
    write_csv(folder / "quarantine.csv", [{"path": name, "reason": name} for name in names])
    save_file({"labels": labels, "probabilities": p}, folder / "predictions/val.safetensors")
    config = {"data": data, "model": "compact", "augment": "light", "size": 8, "seed": 0}
    (folder / "config.yaml").write_text(json.dumps(config))
    (folder / "classes.json").write_text(json.dumps(names))
    (folder / "env.json").write_text(json.dumps({"asked": {"data": names[0], "epochs": 2}}))
    row = {"name": names[0], "views": "one", "passes": 1, "share": 1.0, "chosen": True}
    row |= {"accuracy": FIGURE, "nll": FIGURE, "ece": FIGURE, "split": "val"}
    start = {"kind": "start", "found": n, "warnings": [names[-1]]}
    seen = [
        {"kind": "validation", "epoch": e, "progress": e / 2, "step": e, "train_loss": 1 / e,
         "val_loss": 1.5 / e, "val_accuracy": e / 4, "learning_rate": 0.1}
        for e in (1, 2)
    ]  # fmt: skip
    evaluation = {"split": "val", "n": n, "accuracy": FIGURE, "nll": FIGURE, "ece": FIGURE}
    refused = {"name": names[1], "refused": names[2]}
    end = {"kind": "end", "temperature": 2.0, "table": [row, refused], "evaluation": evaluation}
    end |= {"seconds": 9.0, "images_per_second": 20.0, "wait_share": 0.1, "chosen": "average"}
    end |= {"spent": {"wait": 1.5, "compute": 6.0, "decode": 4.25, "render": 3.75}}
    lines = [json.dumps(record) for record in (start, *seen, end)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_csv(file: Path, rows: list[dict]) -> None:
    with file.open("w", newline="") as page:
        table = csv.DictWriter(page, rows[0])
        table.writeheader()
        table.writerows(rows)


def shape(file: Path) -> Counter:
    """Count elements by tag and names of attributes: what a page is made of, whatever it says."""
    tree = html5lib.parse(file.read_text(encoding="utf-8"), namespaceHTMLElements=False)
    return Counter((str(e.tag), tuple(sorted(map(str, e.attrib)))) for e in tree.iter())
