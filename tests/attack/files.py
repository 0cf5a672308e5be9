"""Attacks on what polyak reads besides images: only its own errors may come out.

Model files, checkpoints, recipes, tables and the pages of a run go through their readers, and one
in thirty through the command that a user would type.
"""

import contextlib
import copy
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from attack import edits, stored, texts
from polyak import cli, model
from polyak.augment import Policy
from polyak.data import Images, find, scan
from polyak.errors import PolyakError
from polyak.files import read_yaml
from polyak.jobs import fit, stream
from polyak.jobs.begin import Beginning
from polyak.jobs.command import Command
from polyak.jobs.open import open_session
from polyak.networks import Compact, build, spec
from polyak.networks.preprocessing import Preprocessing
from polyak.recipe import make, written
from polyak.recipe import recipe as recipes
from polyak.report import page
from polyak.report.gather import gather
from polyak.rundir import checkpoints, environment, resume
from polyak.rundir.directory import RunDirectory

CODES = {0, 64, 65, 66, 73, 74, 76}  # of commands; 70 is a mistake of ours
LARGEST = 100 << 20  # bytes that may lie in a folder afterwards
TEXTS = ("env.json", "metrics.jsonl", "classes.json", "split.csv", "quarantine.csv", "config.yaml")


class Bases(NamedTuple):
    """Whole files to begin with, in a folder that goes with this process, and parts of a run."""

    folder: Path
    data: Path
    run: Path
    command: Command
    beginning: Beginning


def describe(seed: int, number: int) -> tuple[str, str]:
    """Say what an input is, and what was done to it."""
    name, kind, _ = _drawn(seed, number)
    return name, kind


def attack(seed: int, number: int) -> str:
    """Make one input and read it: used, refused, or what must not be."""
    name, kind, draw = _drawn(seed, number)
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        try:
            said = READERS[name](Path(folder), kind, draw)
        except PolyakError as error:
            said = "whole but refused: " + str(error) if kind == "whole" else "refused"
            said = f"not one line: {error}" if "\n" in str(error) else said
        size = sum(path.lstat().st_size for path in Path(folder).rglob("*"))
        return said if size < LARGEST else f"{size:,} bytes are left"


def _drawn(seed: int, number: int):
    draw = np.random.default_rng([seed, number])
    name = list(READERS)[draw.integers(len(READERS))]
    kinds = KINDS[name]
    return name, kinds[draw.integers(len(kinds))], draw


@cache
def bases() -> Bases:
    """Make the whole files, once a process: a model of two members, a run left in the middle."""
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="attack-bases-"))
    noise = np.random.default_rng(0)
    for label, colour in enumerate(("red", "green", "blue")):
        (folder / "data" / colour).mkdir(parents=True)
        for number in range(8):
            pixels = noise.integers(0, 120, (16, 16, 3), dtype=np.uint8)
            pixels[..., label] += 120
            Image.fromarray(pixels).save(folder / "data" / colour / f"{number}.png")
    recipe = make(
        data=str(folder / "data"), model="compact", widths=(4, 4), epochs=3, batch_size=4, size=8,
        threads=1, save_every=0, average=0.2, val=0.25, optimizer="adamw", ensemble="snapshots",
        schedule="sgdr", cycles=3, out=str(folder), name="run", patience=9, device="cpu",
    )  # fmt: skip
    events = stream(recipe)
    while getattr(next(events), "step", None) != 7:
        pass
    events.close()
    for path in checkpoints.found(folder / "run/checkpoints"):
        assert checkpoints.load(path)["judge"]["snapshots"]["entries"]
    _model(folder / "model.safetensors")
    command = replace(Command.alone(recipe), path=folder / "run")
    session = open_session(command)
    beginning = Beginning(session, session.network())
    return Bases(folder, folder / "data", folder / "run", command, beginning)


def _model(file: Path) -> None:
    how, members = {"size": (8, 8), "widths": (4, 4)}, []
    preprocessing = Preprocessing((8, 8), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), 1.0)
    for seed in range(2):
        torch.manual_seed(seed)
        network = build("compact", 3, **how)
        assert isinstance(network, Compact)
        network.whiten(torch.rand(64, 3, 8, 8))
        names = ("a", "고양이", "c\n")[:: 1 - 2 * seed]
        one = model.Classifier(
            [model.Member(network, spec("compact", 3, **how), names, preprocessing)],
            names,
            1.5,
            "flip",
        )
        members.append(one)
    weights = {"weights": members[0].members[0].network.state_dict()}
    header = {"evaluation": {"split": "val", "n": 3}, "recipe": {"seed": 0}}
    members[0].header = header
    model.save(file, weights, members[0], "weights", model.join(members))


def _read_model(folder: Path, kind: str, draw) -> str:
    file, made = folder / "model.safetensors", bases()
    shutil.copy(made.folder / "model.safetensors", file)
    stored.mutated(file, kind, draw)
    image = next((made.data / "red").iterdir())
    if not draw.integers(30):
        return _typed(["predict", str(file), str(image), "--top", "2"], kind)
    for name in (None, "members"):
        found = model.load(file, kind=name)
        said, failed = found.probabilities(Images.open([image], budget=0))
        if failed or not np.isfinite(said).all() or abs(said.sum() - 1) > 1e-3:
            return f"answers {said}"
    return "used"


def _read_checkpoint(folder: Path, kind: str, draw) -> str:
    made = bases()
    shutil.copytree(made.run, folder / "run")
    inside = folder / "run/checkpoints"
    newest, before = checkpoints.found(inside)
    if kind == "manifest":
        text = (inside / "manifest.json").read_text()
        (inside / "manifest.json").write_bytes(texts.json_page(text, draw))
    elif kind == "snapshot":
        file = inside / "snapshot-1.safetensors"
        file.write_bytes(edits.damaged(file.read_bytes(), draw))
    else:
        for path in (newest, before) if draw.integers(2) else (newest,):
            stored.mutated(path, kind, draw)
    if not draw.integers(30):
        return _typed(["train", "--resume", "--out", str(folder), "--name", "run"], kind)
    network = made.beginning.network
    network = network.with_module(copy.deepcopy(network.module))
    run = RunDirectory(folder / "run")
    try:
        command = replace(made.command, path=folder / "run")
        training = fit.prepare(command, replace(made.beginning, network=network), run)
        if not training.done:
            return "refused" if kind != "whole" else "begun anew"
        training.validator.snapshots.taken()
    finally:
        run.close()
    return "used"


def _read_recipe(folder: Path, kind: str, draw) -> str:
    text, file = (bases().run / "config.yaml").read_text(), folder / "config.yaml"
    file.write_bytes(text.encode() if kind == "whole" else texts.recipe(text, draw))
    if not draw.integers(30):
        return _typed(["train", "no such data", "--config", str(file), "--out", str(folder)], "")
    recipe = recipes.make(**written.read(file))
    if recipe.augment != "auto":
        Policy.parse(recipe.augment)
    recipes.make(**read_yaml(_written(folder, recipe)))
    return "used"


def _written(folder: Path, recipe: recipes.Recipe) -> Path:
    """Write a recipe that was taken as a run would: it must read back."""
    (folder / "again.yaml").write_text(written.write(recipe, {}), "utf-8", "surrogateescape")
    return folder / "again.yaml"


def _read_table(folder: Path, kind: str, draw) -> str:
    rows = [
        f"{label}/{n}.png,{label},{'train' if n else 'val'}"
        for label in ("red", "blue")
        for n in range(4)
    ]
    for label in ("red", "blue"):
        shutil.copytree(bases().data / label, folder / label)
    text, file = "\n".join(["path,label,split", *rows]) + "\n", folder / "data.csv"
    file.write_bytes(text.encode() if kind == "whole" else texts.table(text, draw))
    if not draw.integers(30):
        return _typed(["doctor", str(file)], kind)
    scan(find(str(file)), threads=1)
    return "used"


def _read_run(folder: Path, kind: str, draw) -> str:
    """One of the pages of a run: what `--resume` and `report` read."""
    shutil.copytree(bases().run, folder / "run")
    if kind != "whole":
        file = folder / "run" / kind
        change = {".json": texts.json_page, ".csv": texts.table, ".yaml": texts.recipe}
        change = change.get(file.suffix, texts.json_page)
        file.write_bytes(change(file.read_text(), draw))
    if not draw.integers(30):
        verb = ["report", str(folder / "run")] if draw.integers(2) else [
            "train", "--resume", "--out", str(folder), "--name", "run"]  # fmt: skip
        return _typed(verb, kind)
    facts = gather(folder / "run")
    page.again(facts), page.snapshots(facts), page._spent(facts), page._probed(facts.end)
    resume.finished(folder / "run"), resume.choices(folder / "run")
    resume.identity(folder / "run")
    environment.of(folder / "run")
    return "used"


def _typed(command: list[str], kind: str) -> str:
    """Type a command: whatever is wrong is one line, and a code that scripts may rely on."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(command)
    lines = [line for line in err.getvalue().splitlines() if not line.startswith("polyak: note")]
    if code not in CODES or "Traceback" in err.getvalue():
        return f"exit {code}: {err.getvalue()[-300:]}"
    if code and len(lines) != 1:
        return f"exit {code} in {len(lines)} lines"
    if kind == "whole" and code:
        return f"whole but refused: {lines}"
    return "refused" if code else "used"


READERS: dict[str, Callable[[Path, str, edits.Draw], str]] = {
    "model": _read_model,
    "checkpoint": _read_checkpoint,
    "recipe": _read_recipe,
    "table": _read_table,
    "run": _read_run,
}
KINDS = {
    "model": stored.KINDS,
    "checkpoint": (*stored.KINDS, "manifest", "snapshot"),
    "recipe": ("whole", "changed", "changed", "changed"),
    "table": ("whole", "changed", "changed", "changed"),
    "run": ("whole", *TEXTS),
}


def prepare() -> None:
    """Make the bases before workers are forked, so that each has them; they go at the end."""
    import atexit

    owner, folder = os.getpid(), bases().folder
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    json.dumps(describe(0, 0))
